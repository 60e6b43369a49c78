"""The table: per kind of fault, what was done, what was found, and how long writes took to go on."""

from checker import CLASSES

COLUMNS = [c for c in CLASSES]


class Row:
    def __init__(self):
        self.runs = self.acknowledged = 0
        self.violations = {c: 0 for c in COLUMNS}
        self.gaps = []


class Table:
    def __init__(self):
        self.rows = {}

    def row(self, kind):
        return self.rows.setdefault(kind, Row())

    def total(self):
        total = Row()
        for row in self.rows.values():
            total.runs += row.runs
            total.acknowledged += row.acknowledged
            total.gaps += row.gaps
            for c in COLUMNS:
                total.violations[c] += row.violations[c]
        return total

    def failed(self):
        return sum(sum(row.violations.values()) for row in self.rows.values())

    @staticmethod
    def quantile(values, q):
        return f"{sorted(values)[min(len(values) - 1, int(len(values) * q))]:.2f}" if values else ""

    def cells(self, name, row):
        return [name, row.runs, row.acknowledged, *[row.violations[c] or "" for c in COLUMNS],
                *[self.quantile(row.gaps, q) for q in (0.5, 0.99, 1.0)]]

    def markdown(self):
        head = ["kind", "runs", "acknowledged", *COLUMNS, "p50 s", "p99 s", "max s"]
        lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
        lines += [self.cells(f"`{name}`", row) for name, row in sorted(self.rows.items())]
        lines.append(self.cells("all", self.total()))
        return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines) + "\n"
