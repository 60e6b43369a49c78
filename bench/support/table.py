"""Results for people."""


def run_lines(title, r):
    times = f"p50 {r['p50_us'] / 1000:.2f}  p99 {r['p99_us'] / 1000:.2f}  p99.9 {r['p999_us'] / 1000:.2f} ms"
    yield f"{title}"
    yield f"    {r['per_second']:.1f}/s ({r['count']} in {r['seconds']:.2f} s, {r['octets'] / 1e6:.1f} MB)   {times}"
    if r.get("cpu") and r["count"]:
        parts = "  ".join(f"{n} {s * 1e6 / r['count']:.0f}" for n, s in sorted(r["cpu"].items(), key=lambda p: -p[1])[:8])
        yield f"    µs of processor time each: {sum(r['cpu'].values()) * 1e6 / r['count']:.0f} = {parts}"
    for kind in r["kinds"] if len(r["kinds"]) > 1 or any(k["count"] != r["count"] for k in r["kinds"]) else []:
        yield (f"      {kind['name']:<28} {kind['count']:>8}  p50 {kind['p50_us'] / 1000:.2f}  p99 {kind['p99_us'] / 1000:.2f}"
               f"  p99.9 {kind['p999_us'] / 1000:.2f} ms")
    for name, value in r.get("memory", {}).items():
        yield f"    {name}: {value}"
    if "failover" in r:
        yield f"    {r['failover']}"
    for name, value, unit in r.get("directory", ()):
        yield f"    {name}: {value:g} {unit}"
    if r["errors"]:
        yield f"    {r['errors']} ERRORS, the first: {r['first_error']}"
    g = r["generator"]
    if g["bottleneck"]:
        yield (f"    THE GENERATOR WAS THE BOTTLENECK: {g['cpu_s']:.2f} s on its core and {g['waited_for_a_core_s']:.2f} s "
               f"waiting for one, of {r['seconds']:.2f} s")


def figures(rows):
    """rows: dicts with name, ours, peer, peer_name, ratio, unit."""
    wide = max([len(r["name"]) for r in rows] + [10])
    yield f"{'figure':<{wide}}  {'ours':>10}  {'peer':>10}  {'':<9} {'ratio':>6}  unit"
    for r in rows:
        peer = "-" if r["peer"] is None else f"{r['peer']:g}"
        ratio = "-" if r["ratio"] is None else f"{r['ratio']:.2f}"
        yield f"{r['name']:<{wide}}  {r['ours']:>10g}  {peer:>10}  {r['peer_name'] or '':<9} {ratio:>6}  {r['unit']}"
