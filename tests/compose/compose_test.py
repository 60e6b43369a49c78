"""deploy/compose.yaml: what it names exists, and all of it runs. See tests/compose/run --help."""

import argparse
import os
import re
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, HERE)

from cluster import Tally  # noqa: E402
from containers import TOP, Containers, load, sh  # noqa: E402
from imap import Imap  # noqa: E402

ADDRESS, PASSWORD = "ana@example.test", "compose-secret-1"


# ---- The files alone ----

def schema(tally, options):
    """schema: docker-compose reads the file"""
    done = subprocess.run(["docker-compose", "-f", f"{TOP}/deploy/compose.yaml", "config", "-q"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    tally.check("compose.yaml follows the schema", done.returncode == 0, done.stdout[-1500:])


def volumes_and_users(tally, options):
    """rights: who may what"""
    compose = load()
    ours = {n: s for n, s in compose["services"].items() if s["image"].startswith("chasqui")}
    tally.check("nothing of ours is root, writes to its image, or has rights", all(
        s["user"] == "10001:10001" and s["read_only"] is True and s["cap_drop"] == ["ALL"] for s in ours.values()))
    only_prepare = {n for n, s in ours.items() for v in s["volumes"] if v.startswith(("etc:", "services:")) and not v.endswith(":ro")}
    tally.check("certificates and settings are written by prepare alone", only_prepare == {"prepare"}, str(only_prepare))
    named = {v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", [])}
    tally.check("each volume is declared and used", named == set(compose["volumes"]), str(named ^ set(compose["volumes"])))
    stored = [v for s in ours.values() for v in s["volumes"] if v.startswith(("storage-", "spool-"))]
    tally.check("no two containers share data", len(stored) == len(set(stored)) == 5, str(stored))
    published = [p for s in compose["services"].values() for p in s.get("ports", [])]
    tally.check("ports are published on loopback, each once", len(published) == len({p.rpartition(":")[0] for p in published})
                and all(p.startswith("127.0.0.1:") for p in published), str(published))


def image(tally, options):
    """image: the Dockerfile takes what exists, and installs what the programs need"""
    with open(f"{TOP}/deploy/Dockerfile") as f:
        text = f.read()
    sources = re.findall(r"^COPY (?!--)(\S+) ", text, re.M)
    missing = [s for s in sources if not os.path.exists(os.path.join(TOP, s))]
    tally.check("each COPY has its source", sources and not missing, str(missing))
    listed = subprocess.run(["bash", "-c", 'set -- --list; . <(sed "/^case/,\\$d" "$0"); printf "%s\\n" "${run_packages[@]}"', f"{TOP}/deploy/install-deps"],
                            stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    needed = set()
    for name in sorted(os.listdir(options.programs)):
        if not re.fullmatch(r"chasqui(ctl|-frontend|-router|-storage-node|-quota-service)", name):
            continue
        dynamic = subprocess.run(["readelf", "-d", f"{options.programs}/{name}"], stdout=subprocess.PIPE, text=True, check=True).stdout
        paths = dict(re.findall(r"^\s*(\S+) => (\S+)", subprocess.run(["ldd", f"{options.programs}/{name}"], stdout=subprocess.PIPE, text=True, check=True).stdout, re.M))
        for library in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
            path = os.path.realpath(paths.get(library, "/lib64/" + library))
            owner = next((line for p in (path, path.replace("/usr/lib", "/lib", 1))
                          for line in subprocess.run(["dpkg", "-S", p], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.splitlines()), "")
            needed.add(owner.split(":")[0] or path)
    unlisted = needed - set(listed) - {"libc6", "libgcc-s1", "zlib1g"}
    tally.check("install-deps run has every library's package", needed and not unlisted, str(unlisted))


# ---- All of it running ----

def wait(what, condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not in {seconds} s")
        time.sleep(0.5)


def check_settings(containers, tally):
    """Each settings file is read without complaint by its program, as its own container has it."""
    for name, service in containers.services.items():
        if service["image"].startswith("chasqui") and "--config" in service.get("command", []):
            try:
                containers.run(name, service["command"] + ["--check-config"])
                ok, detail = True, ""
            except RuntimeError as e:
                ok, detail = False, str(e)
            tally.check(f"{name}: its settings are right", ok, detail)
    text = "".join(open(containers.path("volumes", "etc", "conf", f)).read() for f in sorted(os.listdir(containers.path("volumes", "etc", "conf"))) if f.endswith(".yaml"))
    paths = set(re.findall(r"/etc/chasqui/[\w./-]+", text))
    missing = [p for p in paths if not os.path.exists(p.replace("/etc/chasqui", containers.path("volumes", "etc"), 1))]
    tally.check("each file that settings name is there", paths and not missing, str(missing))
    hosts = set(re.findall(r'"([a-z][a-z0-9-]*):\d+"', text)) | set(re.findall(r"host=(\S+)", text))
    tally.check("each host that settings name is a service", hosts and hosts <= set(containers.services), str(hosts - set(containers.services)))
    listening = set(re.findall(r'protocol: \w+, listen: "0.0.0.0:(\d+)"', text))
    published = {p.rpartition(":")[2] for s in containers.services.values() for p in s.get("ports", [])}
    tally.check("what is published is what front-ends listen to", listening == published, f"{listening ^ published}")


def mail_goes_through(containers, tally):
    trust = ssl.create_default_context(cafile=containers.path("volumes", "etc", "certs", "public-ca.pem"))
    with smtplib.SMTP_SSL("localhost", 10465, timeout=120, context=trust) as smtp:
        smtp.login(ADDRESS, PASSWORD)
        smtp.sendmail(ADDRESS, [ADDRESS], f"From: {ADDRESS}\r\nTo: {ADDRESS}\r\nSubject: contained\r\n\r\nText.\r\n")
    imap = Imap(11993, trust, timeout=120)
    imap.login(ADDRESS, PASSWORD)
    imap.command('SELECT "INBOX"')
    untagged, _ = imap.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    imap.close()
    tally.check("a message goes in at one front-end and out at the other", any(b"contained" in p for parts in untagged for p in parts), str(untagged))


def metrics(containers, name):
    done = subprocess.run(["nsenter", "--net", "-t", str(containers.running[name].pid), "curl", "-fsS", "http://127.0.0.1:9090/metrics"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def all_three_are_used(containers, tally):
    accounts = containers.run("ctl", ["account", "list"])
    tally.check("the account is in PostgreSQL", ADDRESS in accounts, accounts[-500:])
    tally.check("Redis is used", "chasqui_redis_up 1" in metrics(containers, "quota-1"))

    def delivered():
        return any(re.search(r"^chasqui_events_produced_total\{[^}]*acknowledged[^}]*\} [1-9]", metrics(containers, n), re.M)
                   for n in ("storage-a", "storage-b", "storage-c"))
    try:
        wait("events", delivered)
        ok = True
    except RuntimeError:
        ok = False
    tally.check("events get to Kafka", ok)


def start_and_use(tally, options):
    folder = tempfile.mkdtemp(prefix="chasqui-compose.")
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)  # gone with our namespace; and no part of "/" below the image
    containers = Containers(folder, options.programs, options.kafka_jars)
    try:
        containers.run("prepare")
        check_settings(containers, tally)
        containers.publish()
        containers.up()
        if containers.running["init"].wait(300) != 0:
            raise RuntimeError(containers.log("init"))
        tally.check("init makes a cluster, a schema and topics", "the topics: done" in containers.log("init"), containers.log("init"))
        for name in containers.running:
            if "healthcheck" in containers.services[name]:
                wait(f"{name} is healthy", lambda name=name: containers.healthy(name))
        tally.check("all are healthy", True)
        containers.run("init")
        tally.check("init again changes nothing", True)
        containers.run("ctl", ["domain", "add", "example.test"])
        containers.run("ctl", ["account", "add", ADDRESS, "--password-stdin"], stdin=PASSWORD + "\n")
        mail_goes_through(containers, tally)
        all_three_are_used(containers, tally)
    except Exception as e:
        tally.check("the containers run", False, repr(e))
        for name in containers.running:
            print(f"-- {name}\n{containers.log(name)[-1500:]}")
    finally:
        containers.stop()
        sh("umount", "-l", folder)
        os.rmdir(folder)


def main():
    parser = argparse.ArgumentParser(prog="tests/compose/run", description=__doc__)
    parser.add_argument("programs", help="folder of the built programs")
    parser.add_argument("kafka_jars")
    options = parser.parse_args()
    tally = Tally()
    for story in (schema, volumes_and_users, image):
        print(f"-- {story.__doc__}", flush=True)
        story(tally, options)
    print("-- running: each service in namespaces of its own", flush=True)
    start_and_use(tally, options)
    return tally.close()


sys.exit(main())
