"""Runs chasqui-load against a server and looks at the server's processes while it measures."""

import json
import os
import subprocess

from . import proc

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("CHASQUI_BUILD", os.path.join(TOP, "build/release"))
PROGRAM = os.path.join(BUILD, "bench/chasqui-load")


class LoadError(RuntimeError):
    pass


def arguments(server, scenario, options):
    command = [PROGRAM, scenario, "--accounts", server.accounts_file]
    for protocol in ("smtp", "lmtp", "imap", "pop3"):
        if server.endpoints.get(protocol):
            command += ["--" + protocol, ",".join(server.endpoints[protocol])]
    if server.ca:
        command += ["--ca", server.ca, "--name", server.host]
    else:
        command += ["--tls", "no"]
    for name, value in options.items():
        name = "--" + name.replace("_", "-")
        if value is True:
            command.append(name)
        elif isinstance(value, (list, tuple)):
            for one in value:
                command += [name, one]
        elif value is not None and value is not False:
            command += [name, str(value)]
    return command


def run(server, scenario, timeout=900, on_event=None, **options):
    """The result of one run; with "cpu" (seconds of the server's processes by name, in the measured time), and
    "cpu_us_per_operation" of all of them together."""
    process = subprocess.Popen(arguments(server, scenario, options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    before = after = result = None
    try:
        for line in process.stdout:
            said = json.loads(line)
            if said["event"] == "begin":
                before = server.cpu()
                if server.profile:
                    server.profile.begin(server)
            elif said["event"] == "end":
                after = server.cpu()
                if server.profile:
                    server.profile.end()
            elif said["event"] == "result":
                result = said
            if on_event:
                on_event(said)
        process.wait(timeout=timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0 or result is None:
        raise LoadError(f"{scenario}: {process.stderr.read()[-500:] or 'no result'}")
    result["cpu"] = {n: round(after[n] - before.get(n, 0), 3) for n in after if after[n] - before.get(n, 0) > 0.005}
    total = sum(result["cpu"].values())
    result["cpu_us_per_operation"] = round(total * 1e6 / result["count"], 1) if result["count"] else None
    return result
