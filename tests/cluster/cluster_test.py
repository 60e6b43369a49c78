"""Runs the stories against clusters of real processes. See tests/cluster/run --help."""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import story_accounts
import story_bodies
import story_input
import story_kills
import story_others
import story_sessions
import story_stages
import story_tls
from cluster import Cluster, run_stories
from waiting import eventually


class StoryCluster(Cluster):
    """The cluster of the quick start, told to log all, to read its TLS files often and to listen for balancers too; one
    front-end keeps no bodies."""

    def __init__(self, build_dir):
        super().__init__(build_dir)
        base = self.port("imaps", 0) - 993
        self.listed_port, self.unlisted_port = base + 994, base + 996
        mounted = story_tls.mount_secret(self)

        def change(name, text):
            text += "log: {level: debug}\n"
            if not name.startswith("frontend"):
                return text
            text = text.replace("tls: {ca:", "tls: {reload_interval: 1s, ca:")
            if name == "frontend-2":
                text = text.replace("spool: ", "body_cache: 0\nspool: ", 1)
                return text.replace(f"{self.dir}/certs/public.", f"{mounted}/public.")
            return text.replace("listeners:\n", "listeners:\n" + "".join(
                f'  - {{protocol: imap, listen: "127.0.0.1:{port}", tls: true, proxy_from: [{network}]}}\n'
                for port, network in ((self.listed_port, "127.0.0.0/8"), (self.unlisted_port, "192.0.2.0/24"))))
        self.change_settings(change)
        self.wait_ready()

    def shards(self):
        return self.ctl_json("shard", "list")

    def leader_of(self, address):
        account = self.ctl_json("account", "show", address)
        shard = next(s for s in self.shards() if s["shard"] == account["shard"])
        return self.name_of_node(shard["leader"])

    def name_of_node(self, node):
        return next(n for n, p in self.processes.items() if p["role"] == "storage-node" and p["node"] == node)

    def digests(self):
        """group -> node -> digest at one applied index, once all replicas have applied the same."""
        def read():
            groups = {}
            for row in self.ctl_json("shard", "replicas"):
                groups.setdefault(row["shard"], {})[row["node"]] = (row["applied"], row["digest"])
            return groups
        return eventually(read, lambda groups: all(len({applied for applied, _ in nodes.values()}) == 1
                                                   for nodes in groups.values()))


def main():
    parser = argparse.ArgumentParser(prog="tests/cluster/run", description=__doc__)
    parser.add_argument("build_dir")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--operations", type=int, default=20000)
    parser.add_argument("--seconds", type=int, default=900, help="at most this long for the kills")
    parser.add_argument("--settle", type=float, default=12, help="seconds until every unknown outcome has settled")
    parser.add_argument("--messages", type=int, default=100000, help="of the large mailbox")
    parser.add_argument("--only", action="append", help="run this story (may be repeated)")
    parser.add_argument("--keep", action="store_true", help="keep the cluster's folder")
    options = parser.parse_args()

    # "secrets" reads the logs of all before.
    stories = {**story_sessions.STORIES, **story_tls.STORIES, **story_input.STORIES, **story_accounts.STORIES,
               **story_bodies.STORIES, "kills": story_kills.story, **story_others.STORIES, **story_stages.STORIES,
               "secrets": story_sessions.secrets}
    unknown = set(options.only or []) - set(stories)
    if unknown:
        parser.error(f"no story {', '.join(unknown)}; there are {', '.join(stories)}")
    return run_stories(StoryCluster(options.build_dir), stories, options)


sys.exit(main())
