"""What one client knows of its own mailboxes: every message instance it was told of, what may be
there without its knowing, and the verdict on each complete reading."""

PRESENT, MAYBE, GONE = "present", "maybe", "gone"


class Instance:
    def __init__(self, token, state=PRESENT):
        self.token = token
        self.state = state
        self.flags = {}  # flag -> True, False, or None when the outcome is unknown


class Model:
    def __init__(self, mailboxes):
        self.instances = {m: {} for m in mailboxes}  # mailbox -> uid -> Instance, gone ones too
        self.pending = {m: [] for m in mailboxes}    # tokens that may have come to be, once each
        self.uidvalidity = {}
        self.violations = []
        self.acknowledged = 0

    def blame(self, kind, text):
        self.violations.append((kind, text))

    def validity(self, mailbox, value):
        if self.uidvalidity.setdefault(mailbox, value) != value:
            self.blame("uidvalidity", f"{mailbox}: {self.uidvalidity[mailbox]} became {value}")

    def added(self, mailbox, uid, token):
        """An acknowledged APPEND, COPY or MOVE named this UID."""
        known = self.instances[mailbox].get(uid)
        if known:
            self.blame("uid reused", f"{mailbox} {uid}: {known.token}, now {token}")
        if self.instances[mailbox] and uid <= max(self.instances[mailbox]) and not self.pending[mailbox]:
            self.blame("uid not rising", f"{mailbox} {uid}")
        self.instances[mailbox][uid] = Instance(token)

    def may_have_added(self, mailbox, token):
        self.pending[mailbox].append(token)

    def present(self, mailbox):
        return [u for u, i in self.instances[mailbox].items() if i.state == PRESENT]

    def read(self, mailbox, seen):
        """seen: uid -> (token, set of flags), a complete reading that began after all that is recorded."""
        for uid, (token, flags) in seen.items():
            known = self.instances[mailbox].get(uid)
            if known is None:
                self.adopt(mailbox, uid, token)
            elif known.token != token:
                self.blame("uid names another message", f"{mailbox} {uid}: {known.token}, now {token}")
            elif known.state == GONE:
                self.blame("resurrected", f"{mailbox} {uid} {token}")
            else:
                self.compare_flags(mailbox, uid, known, flags)
        for uid, known in self.instances[mailbox].items():
            if known.state == PRESENT and uid not in seen:
                self.blame("lost", f"{mailbox} {uid} {known.token}")

    def adopt(self, mailbox, uid, token):
        if token in self.pending[mailbox]:
            self.pending[mailbox].remove(token)
            self.instances[mailbox][uid] = Instance(token)
        else:
            self.blame("never added", f"{mailbox} {uid} {token}")

    def compare_flags(self, mailbox, uid, known, flags):
        for flag, value in known.flags.items():
            if value is not None and value != (flag in flags):
                self.blame("flag", f"{mailbox} {uid} {flag} is {flag in flags}, {value} was acknowledged")
