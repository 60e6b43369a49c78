-- works-with: 1
-- The directory's own tables, the views that it reads and the functions that it writes with.
--
-- Ids of accounts are the 64-bit ids in two's complement; times are microseconds since 1970; names are canonical (the
-- program makes them so). A site that keeps its accounts elsewhere replaces the views lookup_* (same columns, same
-- types) and the functions; compat/postfixadmin.sql does it for postfixadmin's tables.

CREATE FUNCTION mail.now_us() RETURNS bigint LANGUAGE sql AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
$$;

-- The feed. One row that every writer locks first, so versions have no gaps and become visible in their order: whoever
-- has read up to a version has missed nothing before it.
CREATE TABLE mail.feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    head bigint NOT NULL,
    trimmed bigint NOT NULL
);
INSERT INTO mail.feed (head, trimmed) VALUES (0, 0);

CREATE TABLE mail.account_change (
    version bigint PRIMARY KEY,
    kind integer NOT NULL, -- 0 domain, 1 account, 2 address, 3 credential
    account_id bigint NOT NULL,
    credential_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE mail.domain (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    alias_of bigint REFERENCES mail.domain (id),
    postmaster bigint,
    version bigint NOT NULL DEFAULT 0,
    created_us bigint NOT NULL DEFAULT mail.now_us()
);
CREATE INDEX domain_alias_of ON mail.domain (alias_of) WHERE alias_of IS NOT NULL;
CREATE INDEX domain_postmaster ON mail.domain (postmaster) WHERE postmaster IS NOT NULL;

CREATE TABLE mail.account (
    id bigint PRIMARY KEY,
    domain_id bigint NOT NULL REFERENCES mail.domain (id),
    local text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'active', 'disabled', 'deleting')),
    plan text NOT NULL DEFAULT 'personal',
    home_dc text NOT NULL DEFAULT '',
    services integer NOT NULL DEFAULT 7,
    admin boolean NOT NULL DEFAULT false,
    quota_bytes bigint NOT NULL DEFAULT 0,
    quota_messages bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    created_us bigint NOT NULL DEFAULT mail.now_us(),
    state_us bigint NOT NULL DEFAULT mail.now_us(), -- since when it is in this state
    UNIQUE (domain_id, local)
);
CREATE INDEX account_pending ON mail.account (state_us, id) WHERE state IN ('creating', 'deleting');
CREATE INDEX account_first_of_domain ON mail.account (domain_id, admin, created_us);
CREATE INDEX account_first_of_all ON mail.account (admin, created_us);
CREATE INDEX account_unsigned ON mail.account ((id < 0), id);
ALTER TABLE mail.domain ADD FOREIGN KEY (postmaster) REFERENCES mail.account (id) ON DELETE SET NULL;

CREATE TABLE mail.address (
    domain_id bigint NOT NULL REFERENCES mail.domain (id),
    local text COLLATE "C" NOT NULL,
    kind text NOT NULL CHECK (kind IN ('primary', 'alias', 'catchall')),
    PRIMARY KEY (domain_id, local)
);
CREATE TABLE mail.address_target (
    domain_id bigint NOT NULL,
    local text COLLATE "C" NOT NULL,
    account_id bigint NOT NULL REFERENCES mail.account (id) ON DELETE CASCADE,
    PRIMARY KEY (domain_id, local, account_id),
    FOREIGN KEY (domain_id, local) REFERENCES mail.address (domain_id, local) ON DELETE CASCADE
);
CREATE INDEX address_target_account ON mail.address_target (account_id);

CREATE SEQUENCE mail.credential_id;
CREATE TABLE mail.credential (
    id bigint PRIMARY KEY DEFAULT nextval('mail.credential_id'),
    account_id bigint NOT NULL REFERENCES mail.account (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('password', 'app_password')),
    scopes integer NOT NULL DEFAULT 7,
    prefix text COLLATE "C" NOT NULL DEFAULT '',
    hash text NOT NULL,
    label text NOT NULL DEFAULT '',
    created_us bigint NOT NULL DEFAULT mail.now_us(),
    expires_us bigint NOT NULL DEFAULT 0,
    last_used_us bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0
);
CREATE INDEX credential_account ON mail.credential (account_id);
CREATE UNIQUE INDEX credential_prefix ON mail.credential (account_id, prefix) WHERE kind = 'app_password';
CREATE UNIQUE INDEX credential_password ON mail.credential (account_id) WHERE kind = 'password';

-- ---- The contract of reading: these columns, of these types ----

CREATE VIEW mail.lookup_domain AS
    SELECT d.id, d.name::text AS name, d.alias_of, t.name::text AS alias_of_name, d.postmaster, d.version
    FROM mail.domain d LEFT JOIN mail.domain t ON t.id = d.alias_of;

-- One line for each address and account behind it. A line without an account: the address is known, its account is
-- not there yet (the answer is "later").
CREATE VIEW mail.lookup_address AS
    SELECT r.domain_id, r.local::text AS local, d.name::text AS domain, r.kind, t.account_id
    FROM mail.address r JOIN mail.domain d ON d.id = r.domain_id
    LEFT JOIN mail.address_target t ON t.domain_id = r.domain_id AND t.local = r.local;

CREATE VIEW mail.lookup_account AS
    SELECT a.id, a.version, a.domain_id, a.local || '@' || d.name AS address, a.state, a.services, a.admin, a.plan,
           a.home_dc, a.quota_bytes, a.quota_messages, a.created_us, a.state_us
    FROM mail.account a JOIN mail.domain d ON d.id = a.domain_id;

CREATE VIEW mail.lookup_credential AS
    SELECT id, account_id, kind, scopes, prefix::text AS prefix, hash, label, created_us, expires_us, last_used_us, version
    FROM mail.credential;

CREATE VIEW mail.lookup_change AS
    SELECT version, kind, account_id, credential_id FROM mail.account_change;

-- ---- Changes ----

-- Refusals have SQLSTATEs of their own: CQEXI exists, CQNOT not found, CQCON conflict, CQLIM over a limit, CQINV
-- invalid, CQUNS not supported here.
CREATE FUNCTION mail.refuse(code text, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = what;
END $$;

-- The line in the feed, and a hint to whoever listens. The table is the truth.
CREATE FUNCTION mail.note_change(what integer, of_account bigint, of_credential bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    UPDATE mail.feed SET head = head + 1 RETURNING head INTO v;
    INSERT INTO mail.account_change (version, kind, account_id, credential_id) VALUES (v, what, of_account, of_credential);
    IF v % 64 = 0 AND v > 100000 THEN
        DELETE FROM mail.account_change WHERE version <= v - 100000;
        UPDATE mail.feed SET trimmed = v - 100000;
    END IF;
    PERFORM pg_notify('mail_account', json_build_object('kind', what, 'id', of_account, 'version', v)::text);
    RETURN v;
END $$;

-- The functions below note their changes themselves, once each; the triggers are for everybody else's SQL.
CREATE FUNCTION mail.begin_change() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('mail.noted', '1', true);
    PERFORM 1 FROM mail.feed FOR UPDATE;
END $$;

CREATE FUNCTION mail.end_change() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('mail.noted', '', true);
END $$;

CREATE FUNCTION mail.noted() RETURNS boolean LANGUAGE sql AS $$
    SELECT coalesce(current_setting('mail.noted', true), '') = '1';
$$;

CREATE FUNCTION mail.touch_account(what integer, of_account bigint, of_credential bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint := mail.note_change(what, of_account, of_credential);
BEGIN
    UPDATE mail.account SET version = v WHERE id = of_account AND version < v;
    RETURN v;
END $$;

CREATE FUNCTION mail.on_domain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT mail.noted() THEN
            PERFORM mail.note_change(0, 0, 0);
        END IF;
        RETURN OLD;
    END IF;
    IF NOT mail.noted() THEN
        NEW.version := mail.note_change(0, 0, 0);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER noted BEFORE INSERT OR UPDATE OR DELETE ON mail.domain FOR EACH ROW EXECUTE FUNCTION mail.on_domain();

CREATE FUNCTION mail.on_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT mail.noted() THEN
            PERFORM mail.note_change(1, OLD.id, 0);
        END IF;
        RETURN OLD;
    END IF;
    IF NOT mail.noted() AND (TG_OP = 'INSERT' OR NEW.version = OLD.version) THEN
        NEW.version := mail.note_change(1, NEW.id, 0);
    END IF;
    IF NOT mail.noted() AND TG_OP = 'UPDATE' AND NEW.state <> OLD.state THEN
        NEW.state_us := mail.now_us();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER noted BEFORE INSERT OR UPDATE OR DELETE ON mail.account FOR EACH ROW EXECUTE FUNCTION mail.on_account();

CREATE FUNCTION mail.on_target() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT mail.noted() AND TG_OP <> 'INSERT' THEN
        PERFORM mail.touch_account(2, OLD.account_id, 0);
    END IF;
    IF NOT mail.noted() AND TG_OP <> 'DELETE' THEN
        PERFORM mail.touch_account(2, NEW.account_id, 0);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON mail.address_target
    FOR EACH ROW EXECUTE FUNCTION mail.on_target();

-- Another secret is another credential: sessions of the old one end.
CREATE FUNCTION mail.on_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF mail.noted() THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'DELETE' THEN
        PERFORM mail.touch_account(3, OLD.account_id, OLD.id);
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.hash <> OLD.hash THEN
        NEW.id := nextval('mail.credential_id');
    END IF;
    NEW.version := mail.touch_account(3, NEW.account_id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.id ELSE NEW.id END);
    RETURN NEW;
END $$;
CREATE TRIGGER noted BEFORE INSERT OR UPDATE OR DELETE ON mail.credential
    FOR EACH ROW EXECUTE FUNCTION mail.on_credential();

-- ---- The contract of writing: each function is one change, and one transaction ----

CREATE FUNCTION mail.domain_add(new_name text, target bigint, now_us bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
    new_id bigint;
BEGIN
    PERFORM mail.begin_change();
    IF EXISTS (SELECT 1 FROM mail.domain WHERE name = new_name) THEN
        PERFORM mail.refuse('CQEXI', 'the domain exists already');
    END IF;
    v := mail.note_change(0, 0, 0);
    INSERT INTO mail.domain (name, alias_of, version, created_us)
        VALUES (new_name, nullif(target, 0), v, now_us) RETURNING id INTO new_id;
    PERFORM mail.end_change();
    RETURN new_id;
END $$;

CREATE FUNCTION mail.domain_set_postmaster(of_domain bigint, of_account bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mail.begin_change();
    UPDATE mail.domain SET postmaster = nullif(of_account, 0), version = mail.note_change(0, 0, 0) WHERE id = of_domain;
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no such domain');
    END IF;
    PERFORM mail.end_change();
END $$;

CREATE FUNCTION mail.domain_remove(of_domain bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mail.begin_change();
    DELETE FROM mail.domain WHERE id = of_domain;
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no such domain');
    END IF;
    PERFORM mail.note_change(0, 0, 0);
    PERFORM mail.end_change();
EXCEPTION
    WHEN foreign_key_violation THEN
        PERFORM mail.refuse('CQCON', 'the domain still has accounts, addresses or alias domains');
END $$;

CREATE FUNCTION mail.target_add(of_domain bigint, new_local text, new_kind text, of_account bigint, targets_max bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old_kind text;
BEGIN
    PERFORM mail.begin_change();
    SELECT kind INTO old_kind FROM mail.address WHERE domain_id = of_domain AND local = new_local;
    IF old_kind <> new_kind THEN
        PERFORM mail.refuse('CQEXI', 'the address is an account''s own');
    ELSIF old_kind IS NULL THEN
        INSERT INTO mail.address (domain_id, local, kind) VALUES (of_domain, new_local, new_kind);
    ELSIF EXISTS (SELECT 1 FROM mail.address_target
                  WHERE domain_id = of_domain AND local = new_local AND account_id = of_account) THEN
        PERFORM mail.refuse('CQEXI', 'the alias goes to this account already');
    ELSIF (SELECT count(*) FROM mail.address_target WHERE domain_id = of_domain AND local = new_local) >= targets_max THEN
        PERFORM mail.refuse('CQLIM', format('an alias has at most %s accounts', targets_max));
    END IF;
    INSERT INTO mail.address_target (domain_id, local, account_id) VALUES (of_domain, new_local, of_account);
    PERFORM mail.touch_account(2, of_account, 0);
    PERFORM mail.end_change();
END $$;

CREATE FUNCTION mail.target_remove(of_domain bigint, old_local text, of_account bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gone bigint[];
BEGIN
    PERFORM mail.begin_change();
    IF NOT EXISTS (SELECT 1 FROM mail.address
                   WHERE domain_id = of_domain AND local = old_local AND kind <> 'primary') THEN
        PERFORM mail.refuse('CQNOT', 'no such alias');
    END IF;
    WITH removed AS (
        DELETE FROM mail.address_target
        WHERE domain_id = of_domain AND local = old_local AND (of_account = 0 OR account_id = of_account)
        RETURNING account_id)
    SELECT array_agg(account_id ORDER BY account_id) INTO gone FROM removed;
    IF gone IS NULL AND of_account <> 0 THEN
        PERFORM mail.refuse('CQNOT', 'no such target of the alias');
    END IF;
    DELETE FROM mail.address r WHERE r.domain_id = of_domain AND r.local = old_local AND NOT EXISTS (
        SELECT 1 FROM mail.address_target t WHERE t.domain_id = of_domain AND t.local = old_local);
    PERFORM mail.touch_account(2, one, 0) FROM unnest(gone) AS one;
    PERFORM mail.end_change();
END $$;

-- Repeating it with the same id is no error: an answer that was lost is asked for again.
CREATE FUNCTION mail.account_add(new_id bigint, of_domain bigint, new_local text, new_plan text, dc text, new_services bigint,
                                 is_admin boolean, bytes bigint, messages bigint, now_us bigint, password text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
    old mail.account;
BEGIN
    PERFORM mail.begin_change();
    SELECT * INTO old FROM mail.account WHERE id = new_id;
    IF old.id IS NOT NULL THEN
        IF old.domain_id <> of_domain OR old.local <> new_local OR old.created_us <> now_us THEN
            PERFORM mail.refuse('CQCON', 'the account id is in use');
        END IF;
        PERFORM mail.end_change();
        RETURN;
    END IF;
    IF EXISTS (SELECT 1 FROM mail.address WHERE domain_id = of_domain AND local = new_local) THEN
        PERFORM mail.refuse('CQEXI', 'the address is taken');
    END IF;
    v := mail.note_change(1, new_id, 0);
    INSERT INTO mail.account (id, domain_id, local, plan, home_dc, services, admin, quota_bytes, quota_messages, version,
                              created_us)
        VALUES (new_id, of_domain, new_local, new_plan, dc, new_services::integer, is_admin, bytes, messages, v, now_us);
    INSERT INTO mail.address (domain_id, local, kind) VALUES (of_domain, new_local, 'primary');
    INSERT INTO mail.address_target (domain_id, local, account_id) VALUES (of_domain, new_local, new_id);
    IF password <> '' THEN
        INSERT INTO mail.credential (account_id, kind, hash, created_us, version)
            VALUES (new_id, 'password', password, now_us, v);
    END IF;
    PERFORM mail.end_change();
END $$;

-- what: 1 plan, 2 services, 4 quota, 8 admin, 16 data centre. expected 0: whatever version it has.
CREATE FUNCTION mail.account_update(of_account bigint, what bigint, expected bigint, new_plan text, new_services bigint,
                                    bytes bigint, messages bigint, is_admin boolean, dc text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old mail.account;
BEGIN
    PERFORM mail.begin_change();
    SELECT * INTO old FROM mail.account WHERE id = of_account;
    IF old.id IS NULL THEN
        PERFORM mail.refuse('CQNOT', 'no such account');
    ELSIF expected <> 0 AND expected <> old.version THEN
        PERFORM mail.refuse('CQCON', 'the account has changed meanwhile');
    END IF;
    UPDATE mail.account SET
        plan = CASE WHEN what & 1 <> 0 THEN new_plan ELSE plan END,
        services = CASE WHEN what & 2 <> 0 THEN new_services::integer ELSE services END,
        quota_bytes = CASE WHEN what & 4 <> 0 THEN bytes ELSE quota_bytes END,
        quota_messages = CASE WHEN what & 4 <> 0 THEN messages ELSE quota_messages END,
        admin = CASE WHEN what & 8 <> 0 THEN is_admin ELSE admin END,
        home_dc = CASE WHEN what & 16 <> 0 THEN dc ELSE home_dc END
    WHERE id = of_account;
    PERFORM mail.touch_account(1, of_account, 0);
    PERFORM mail.end_change();
END $$;

-- from_states: names, separated by commas.
CREATE FUNCTION mail.account_set_state(of_account bigint, from_states text, to_state text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old_state text;
BEGIN
    PERFORM mail.begin_change();
    SELECT state INTO old_state FROM mail.account WHERE id = of_account;
    IF old_state IS NULL THEN
        PERFORM mail.refuse('CQNOT', 'no such account');
    ELSIF old_state <> to_state THEN
        IF NOT old_state = ANY (string_to_array(from_states, ',')) THEN
            PERFORM mail.refuse('CQCON', 'the account is ' || old_state);
        END IF;
        UPDATE mail.account SET state = to_state, state_us = mail.now_us() WHERE id = of_account;
        PERFORM mail.touch_account(1, of_account, 0);
    END IF;
    PERFORM mail.end_change();
END $$;

CREATE FUNCTION mail.account_remove(of_account bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old_state text;
BEGIN
    PERFORM mail.begin_change();
    SELECT state INTO old_state FROM mail.account WHERE id = of_account;
    IF old_state IS NULL THEN
        PERFORM mail.refuse('CQNOT', 'no such account');
    ELSIF old_state <> 'deleting' THEN
        PERFORM mail.refuse('CQCON', 'the account is ' || old_state);
    END IF;
    DELETE FROM mail.address r USING mail.address_target mine
        WHERE mine.account_id = of_account AND mine.domain_id = r.domain_id AND mine.local = r.local AND NOT EXISTS (
            SELECT 1 FROM mail.address_target t
            WHERE t.domain_id = r.domain_id AND t.local = r.local AND t.account_id <> of_account);
    DELETE FROM mail.account WHERE id = of_account;
    PERFORM mail.note_change(1, of_account, 0);
    PERFORM mail.end_change();
END $$;

CREATE FUNCTION mail.credential_put(of_account bigint, new_kind text, new_scopes bigint, new_prefix text, new_hash text,
                                    new_label text, expires bigint, now_us bigint, app_max bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    new_id bigint := nextval('mail.credential_id');
    v bigint;
BEGIN
    PERFORM mail.begin_change();
    IF NOT EXISTS (SELECT 1 FROM mail.account WHERE id = of_account) THEN
        PERFORM mail.refuse('CQNOT', 'no such account');
    ELSIF new_kind = 'password' THEN
        DELETE FROM mail.credential WHERE account_id = of_account AND kind = 'password';
    ELSIF (SELECT count(*) FROM mail.credential WHERE account_id = of_account AND kind = 'app_password') >= app_max THEN
        PERFORM mail.refuse('CQLIM', format('an account has at most %s app passwords', app_max));
    ELSIF EXISTS (SELECT 1 FROM mail.credential
                  WHERE account_id = of_account AND kind = 'app_password' AND prefix = new_prefix) THEN
        PERFORM mail.refuse('CQEXI', 'the prefix is in use');
    END IF;
    v := mail.touch_account(3, of_account, new_id);
    INSERT INTO mail.credential (id, account_id, kind, scopes, prefix, hash, label, created_us, expires_us, version)
        VALUES (new_id, of_account, new_kind, new_scopes::integer, new_prefix, new_hash, new_label, now_us, expires, v);
    PERFORM mail.end_change();
    RETURN new_id;
END $$;

-- The same secret under another hash: no line in the feed, the same version.
CREATE FUNCTION mail.credential_rehash(of_credential bigint, old_version bigint, new_hash text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    PERFORM set_config('mail.noted', '1', true);
    SELECT version INTO v FROM mail.credential WHERE id = of_credential FOR UPDATE;
    IF v IS NULL THEN
        PERFORM mail.refuse('CQNOT', 'no such credential');
    ELSIF v <> old_version THEN
        PERFORM mail.refuse('CQCON', 'the credential has changed meanwhile');
    END IF;
    UPDATE mail.credential SET hash = new_hash WHERE id = of_credential;
    PERFORM mail.end_change();
END $$;

CREATE FUNCTION mail.credential_used(of_credential bigint, now_us bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('mail.noted', '1', true);
    UPDATE mail.credential SET last_used_us = greatest(last_used_us, now_us) WHERE id = of_credential;
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no such credential');
    END IF;
    PERFORM mail.end_change();
END $$;

CREATE FUNCTION mail.credential_remove(of_account bigint, of_credential bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mail.begin_change();
    DELETE FROM mail.credential WHERE id = of_credential AND account_id = of_account;
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no such credential');
    END IF;
    PERFORM mail.touch_account(3, of_account, of_credential);
    PERFORM mail.end_change();
END $$;

-- Rows that are there and have no account id yet get one. Nothing to do for these tables; see compat/.
CREATE FUNCTION mail.bind_new() RETURNS bigint LANGUAGE sql AS $$ SELECT 0::bigint $$;
