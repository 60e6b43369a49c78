"""The servers that are measured, each started in a temporary folder on ports of its own and ended by pid. All have the
same accounts, the same certificate authority scheme, TLS for clients, and the same kind of address."""

import concurrent.futures
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from . import load, proc

sys.path.insert(0, os.path.join(load.TOP, "tests/support"))
from cluster import Cluster  # noqa: E402

DOMAIN = "example.test"
PASSWORD = "right-password-7"
ACCOUNTS = 400
MAIL_USER = "mail"  # who owns the peers' mailboxes: a user that every Debian has


def address(i):
    return f"u{i:03}@{DOMAIN}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, what, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{what} does not listen on port {port}")


class Server:
    """endpoints: protocol -> list of host:port. roots: the pids whose trees are measured."""

    name = "?"
    host = "localhost"
    multiappend = False
    tuning = ""  # settings beside the defaults that are about speed or limits; shown with the results
    ca = None
    profile = None  # flame.Profile: what is sampled while something is measured

    def __init__(self):
        self.endpoints, self.roots, self.names, self.running = {}, [], {}, False

    def write_accounts(self, path):
        self.accounts_file = path
        with open(path, "w") as f:
            for i in range(ACCOUNTS):
                f.write(f"{address(i)} {PASSWORD}\n")

    def cpu(self):
        return proc.cpu(self.roots, self.names)

    def pss(self):
        return proc.pss(self.roots, self.names)


class Target(Server):
    """A server that runs already: --target smtp=127.0.0.1:25,imap=... Its processor time is not known."""

    name = "target"

    def __init__(self, text, accounts_file, ca, host, pids):
        super().__init__()
        for part in text.split(","):
            protocol, _, where = part.partition("=")
            self.endpoints.setdefault(protocol, []).append(where)
        self.accounts_file, self.ca, self.host, self.roots = accounts_file, ca, host or "localhost", pids
        self.running = True

    def start(self):
        pass

    def stop(self):
        pass

    remove = stop


class Chasqui(Server):
    """Three storage nodes, two routers, two front-ends, a quota-service, as deploy/quickstart starts them."""

    name = "chasqui"
    # Of the front-ends, beside the settings of the quick start. `body` reads 128 MiB, and again.
    tuning = "body_cache: 192MiB\n"

    def __init__(self):
        super().__init__()
        self.cluster = None
        self.broker = None  # events.Broker, when the events go to Kafka

    def _look(self):
        self.cluster.refresh()
        self.ca = self.cluster.status["ca"]
        for protocol, key in (("smtp", "smtp"), ("lmtp", "lmtp"), ("imap", "imaps"), ("pop3", "pop3s")):
            self.endpoints[protocol] = [f"127.0.0.1:{e['port']}" for e in self.cluster.status["endpoints"][key]]
        self.names = {p["pid"]: p["role"] for p in self.cluster.status["processes"]}
        self.roots = list(self.names)

    def _tune(self):
        """The quick start has just written the settings."""
        self.cluster.refresh()
        for name in self.cluster.names("frontend"):
            with open(self.cluster.settings_of(name)) as f:
                settings = f.read()
            self.cluster.restart(name, settings + self.tuning)
        self._look()

    def start(self):
        if self.running:
            return
        if self.cluster:
            self.cluster.quickstart(timeout=180)
            self._tune()
        else:
            self.cluster = Cluster.__new__(Cluster)
            try:
                self.cluster.__init__(load.BUILD)
            except BaseException:
                self.cluster.stop()  # what of it did start
                raise
            self._tune()
            self.write_accounts(os.path.join(self.cluster.dir, "bench-accounts"))
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda i: self.cluster.add_account(address(i), PASSWORD), range(ACCOUNTS)))
        self.running = True

    def stop(self):
        if self.running:
            self.cluster.quickstart("--stop", timeout=180)
        self.running = False

    def remove(self):
        self.running = False
        if self.cluster:
            self.cluster.stop()
        if self.broker:
            self.broker.remove()


class Peer(Server):
    """One of other people's servers, in a temporary folder, from settings written here."""

    def __init__(self):
        super().__init__()
        self.dir = tempfile.mkdtemp(prefix=f"bench-{self.name}.")
        os.chmod(self.dir, 0o755)
        self.processes = []
        self.write_accounts(os.path.join(self.dir, "accounts"))
        self.certs = os.path.join(self.dir, "certs")
        subprocess.run([os.path.join(load.TOP, "deploy/make-certs"), "--host", "localhost", self.certs], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.chmod(self.certs, 0o755)
        for name in ("public.pem", "public.key", "public-ca.pem"):  # read by other users than us
            os.chmod(f"{self.certs}/{name}", 0o644)
        self.ca = f"{self.certs}/public-ca.pem"

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def file(self, name, text, mode=0o644):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def folder(self, name, user=None):
        os.makedirs(self.path(name), exist_ok=True)
        if user:
            shutil.chown(self.path(name), user, user)
        return self.path(name)

    def spawn(self, *command, env=None):
        log = open(self.path("output.log"), "a")
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)
        log.close()
        self.processes.append(p)
        self.roots.append(p.pid)
        return p

    def stop(self):
        for p in self.processes:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.processes:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
        self.processes, self.roots, self.running = [], [], False

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Dovecot(Peer):
    name = "dovecot"
    multiappend = True
    tuning = """\
mail_fsync = always
auth_cache_size = 16M
auth_cache_ttl = 1 hour
mail_max_userip_connections = 20000
service imap {
  service_count = 1000
  process_min_avail = 16
  process_limit = 12000
}
service imap-login {
  service_count = 0
  client_limit = 12000
}
service pop3-login {
  service_count = 0
}
service lmtp {
  process_min_avail = 16
  process_limit = 200
}
service anvil {
  client_limit = 20000
}
service auth {
  client_limit = 20000
}
"""

    def __init__(self):
        super().__init__()
        self.ports = {p: free_port() for p in ("imaps", "pop3s", "lmtp")}
        self.endpoints = {"imap": [f"127.0.0.1:{self.ports['imaps']}"], "pop3": [f"127.0.0.1:{self.ports['pop3s']}"],
                          "lmtp": [f"127.0.0.1:{self.ports['lmtp']}"]}
        self.folder("mail", MAIL_USER)
        self.folder("run")
        # In clear in the file: verifying a password costs Dovecot nothing, as it costs ours nothing once it is warm.
        self.file("users", "".join(f"{address(i)}:{{PLAIN}}{PASSWORD}\n" for i in range(ACCOUNTS)))
        self.file("dovecot.conf", f"""\
base_dir = {self.path('run')}
log_path = {self.path('dovecot.log')}
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{self.certs}/public.pem
ssl_key = <{self.certs}/public.key
disable_plaintext_auth = yes
mail_location = mdbox:{self.path('mail')}/%u
mail_privileged_group = {MAIL_USER}
first_valid_uid = 1
postmaster_address = postmaster@{DOMAIN}
passdb {{
  driver = passwd-file
  args = {self.path('users')}
}}
userdb {{
  driver = static
  args = uid={MAIL_USER} gid={MAIL_USER} home={self.path('mail')}/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {self.ports['imaps']}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {self.ports['pop3s']}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.ports['lmtp']}
  }}
}}
{self.tuning}""")

    def start(self):
        if self.running:
            return
        self.spawn("/usr/sbin/dovecot", "-F", "-c", self.path("dovecot.conf"))
        for port in self.ports.values():
            wait_port(port, "dovecot")
        self.running = True


class PostfixDovecot(Dovecot):
    """Postfix accepts and hands over by LMTP to Dovecot."""

    name = "postfix"

    def __init__(self):
        super().__init__()
        self.smtp_port = free_port()
        self.endpoints["smtp"] = [f"127.0.0.1:{self.smtp_port}"]
        for name in ("etc", "queue"):
            self.folder(name)
        self.folder("data", "postfix")
        os.chmod(self.path("data"), 0o700)
        self.file("etc/main.cf", f"""\
compatibility_level = 3.6
queue_directory = {self.path('queue')}
data_directory = {self.path('data')}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:127.0.0.1:{self.ports['lmtp']}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = {self.certs}/public.pem
smtpd_tls_key_file = {self.certs}/public.key
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
message_size_limit = 52428800
virtual_mailbox_limit = 0
maillog_file = {self.path('postfix.log')}
maillog_file_prefixes = {self.dir}
""")
        self.file("etc/master.cf", f"""\
127.0.0.1:{self.smtp_port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
""")

    def start(self):
        if self.running:
            return
        super().start()
        # Not with -c as a child of ours: it goes to the background by itself, and tells its pid.
        subprocess.run(["/usr/sbin/postfix", "-c", self.path("etc"), "start"], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=open(self.path("output.log"), "a"))
        wait_port(self.smtp_port, "postfix")
        self.roots.append(int(open(self.path("queue/pid/master.pid")).read()))

    def wait_empty(self, seconds=120):
        """Until the queue has been delivered: what one measurement left behind must not burden the next."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not any(files for d in ("incoming", "active", "deferred")
                       for _, _, files in os.walk(self.path("queue", d))):
                return
            time.sleep(0.2)

    def stop(self):
        if self.running:
            self.wait_empty()
            subprocess.run(["/usr/sbin/postfix", "-c", self.path("etc"), "stop"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().stop()


class Cyrus(Peer):
    name = "cyrus"
    multiappend = True
    root = os.path.join(load.TOP, "build/peers/cyrus")
    tuning = """\
duplicatesuppression: 0
maxlogins_per_host: 0
maxlogins_per_user: 0
"""

    def __init__(self):
        super().__init__()
        self.ports = {p: free_port() for p in ("imaps", "lmtp")}
        self.endpoints = {"imap": [f"127.0.0.1:{self.ports['imaps']}"], "lmtp": [f"127.0.0.1:{self.ports['lmtp']}"]}
        for name in ("", "/db", "/proc", "/socket", "/lock", "/log", "/msg", "/user", "/quota", "/sieve"):
            self.folder("var" + name, MAIL_USER)
        self.folder("spool", MAIL_USER)
        lib = f"{self.root}/usr/lib/x86_64-linux-gnu:{self.root}/lib/x86_64-linux-gnu"
        self.env = dict(os.environ, LD_LIBRARY_PATH=lib, PATH=f"{self.root}/usr/lib/cyrus/bin:{os.environ['PATH']}")
        self.file("imapd.conf", f"""\
configdirectory: {self.path('var')}
defaultpartition: default
partition-default: {self.path('spool')}
servername: localhost
cyrus_user: {MAIL_USER}
admins: cyrus
virtdomains: userid
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
autocreate_post: yes
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {self.path('sasldb2')}
sasl_mech_list: PLAIN LOGIN
tls_server_cert: {self.certs}/public.pem
tls_server_key: {self.certs}/public.key
maxmessagesize: 0
{self.tuning}""")
        binaries = f"{self.root}/usr/lib/cyrus/bin"
        self.file("cyrus.conf", f"""\
START {{
  recover cmd="{binaries}/ctl_cyrusdb -C {self.path('imapd.conf')} -r"
}}
SERVICES {{
  imaps cmd="{binaries}/imapd -C {self.path('imapd.conf')} -s" listen="127.0.0.1:{self.ports['imaps']}" prefork=8 maxforkrate=100
  lmtp cmd="{binaries}/lmtpd -C {self.path('imapd.conf')} -a" listen="127.0.0.1:{self.ports['lmtp']}" prefork=8 maxforkrate=100
}}
EVENTS {{
}}
""")
        self._passwords()

    def _passwords(self):
        for i in range(ACCOUNTS):
            subprocess.run([f"{self.root}/usr/sbin/saslpasswd2", "-f", self.path("sasldb2"), "-c", "-p", "-u", DOMAIN,
                            address(i).split("@")[0]], input=PASSWORD, text=True, check=True, env=self.env,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.chown(self.path("sasldb2"), MAIL_USER, MAIL_USER)

    def start(self):
        if self.running:
            return
        self.spawn(f"{self.root}/usr/lib/cyrus/bin/master", "-C", self.path("imapd.conf"), "-M",
                   self.path("cyrus.conf"), "-p", self.path("master.pid"), env=self.env)
        for port in self.ports.values():
            wait_port(port, "cyrus")
        self.running = True


def tunings(kinds):
    """One line for each that has settings beside the defaults."""
    return [f"{kind.name} with: {' '.join(kind.tuning.split())}" for kind in kinds if kind.tuning]


KINDS = {c.name: c for c in (Chasqui, Dovecot, PostfixDovecot, Cyrus)}
