"""What bench/run and bench/compare do before they measure."""

import os
import resource
import subprocess
import sys

from . import load

PROGRAMS = ["chasqui-frontend", "chasqui-router", "chasqui-storage-node", "chasqui-quota-service", "chasquictl", "chasqui-load"]


def build(*programs):
    """The release preset, unless CHASQUI_BUILD names a folder that has everything."""
    if "CHASQUI_BUILD" in os.environ:
        return
    for command in (["cmake", "-S", load.TOP, "--preset", "release"],
                    ["cmake", "--build", load.BUILD, "-j", str(os.cpu_count()), "--target", *(programs or PROGRAMS)]):
        done = subprocess.run(command, cwd=load.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f"bench: the build failed:\n{done.stdout[-3000:]}")


def raise_descriptors():
    """As many as the hard limit allows, for us and for the servers that we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def install_peers():
    done = subprocess.run([os.path.join(load.TOP, "bench/peers/install")], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        sys.exit("bench: the peers could not be brought")


def commit():
    done = subprocess.run(["git", "-C", load.TOP, "describe", "--always", "--dirty", "--abbrev=10"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "unknown"
