-- Chasqui reads postfixadmin's tables: domain, mailbox, alias, alias_domain, in the schema "public" of the same database.
--
--     chasquictl db migrate
--     psql -v ON_ERROR_STOP=1 -1 -f postfixadmin.sql mail       (as the owner of both; again is harmless)
--     chasquictl db check
--
-- Domains and accounts stay postfixadmin's: chasquictl refuses to change them. Each mailbox gets an account id in a table
-- of ours (mail.pfa_account) by trigger, or, when triggers were off, the next time that the reconciler looks; its account
-- in a shard follows within seconds. Until then it is "later" (SMTP 451, IMAP [UNAVAILABLE]).
--
-- A mailbox that is deleted is "vanished", and its mail is kept for directory.postgresql.vanished_keep (7 days): for an
-- hour it is "later", then it is as one that is disabled (SMTP 550, no log-in), or an alias of that address counts. The same
-- address within that time is the same account again, with its mail. SELECT mail.pfa_forget('anna@example.test') deletes it
-- at once. When more than a tenth of the mailboxes (and more than ten), or all, are gone without a trigger's word (TRUNCATE),
-- somebody is loading the table anew: they are "later", and no time runs.
--
--   - A mailbox gets its own mail; where postfixadmin's alias of the same name sends copies is not followed.
--   - Aliases go to mailboxes here, through other aliases too. One that also goes elsewhere is "later" as a whole: there
--     is no outbound queue yet.
--   - mailbox.quota is the quota in bytes; 0 or less is none. postfixadmin's own app passwords are not read.
--   - A password is replaced by a better hash of ours in mail.pfa_account at the first log-in; postfixadmin's stays as it is
--     and counts again when it changes.

CREATE TABLE IF NOT EXISTS mail.pfa_domain (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    raw text COLLATE "C" NOT NULL UNIQUE, -- as postfixadmin writes it
    name text COLLATE "C" NOT NULL UNIQUE, -- canonical
    version bigint NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS mail.pfa_account (
    id bigint PRIMARY KEY,
    username text COLLATE "C" NOT NULL, -- as postfixadmin writes it
    domain_id bigint NOT NULL REFERENCES mail.pfa_domain (id),
    local text COLLATE "C" NOT NULL, -- canonical
    state text NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'active', 'deleting')),
    plan text NOT NULL DEFAULT 'personal',
    home_dc text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 0,
    created_us bigint NOT NULL DEFAULT mail.now_us(),
    state_us bigint NOT NULL DEFAULT mail.now_us(),
    last_used_us bigint NOT NULL DEFAULT 0,
    rehash text NOT NULL DEFAULT '', -- a better hash of the password
    rehash_of text NOT NULL DEFAULT '' -- whose hash this was, by md5
);
ALTER TABLE mail.pfa_account ADD COLUMN IF NOT EXISTS vanished_us bigint; -- since when its mailbox is gone; NULL: it is not

-- Another mailbox may be renamed to the address of one that vanished.
DROP INDEX IF EXISTS mail.pfa_account_username, mail.pfa_account_local;
CREATE UNIQUE INDEX IF NOT EXISTS pfa_account_by_username ON mail.pfa_account (username)
    WHERE state <> 'deleting' AND vanished_us IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS pfa_account_by_local ON mail.pfa_account (domain_id, local)
    WHERE state <> 'deleting' AND vanished_us IS NULL;
CREATE INDEX IF NOT EXISTS pfa_account_vanished ON mail.pfa_account (domain_id, local) WHERE vanished_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS pfa_account_pending ON mail.pfa_account (state_us, id) WHERE state <> 'active';

-- When bind_new() last looked, to the minute.
CREATE TABLE IF NOT EXISTS mail.pfa_watch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    looked_us bigint NOT NULL
);
INSERT INTO mail.pfa_watch (looked_us) VALUES (mail.now_us()) ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION mail.pfa_later_us() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 3600000000::bigint $$;

-- Positive, and another one for another password.
CREATE OR REPLACE FUNCTION mail.pfa_credential_id(username text, password text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || substr(md5(username || chr(1) || password), 1, 15))::bit(60)::bigint;
$$;

CREATE OR REPLACE FUNCTION mail.pfa_local(address text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(normalize(substr(address, 1, length(address) - length(substring(address from '@[^@]*$')))));
$$;

CREATE INDEX IF NOT EXISTS chasqui_domain ON public.domain (lower(domain));
CREATE INDEX IF NOT EXISTS chasqui_mailbox ON public.mailbox (lower(username));
CREATE INDEX IF NOT EXISTS chasqui_mailbox_domain ON public.mailbox (domain);
CREATE INDEX IF NOT EXISTS chasqui_mailbox_credential
    ON public.mailbox (mail.pfa_credential_id(username::text, password::text));
CREATE INDEX IF NOT EXISTS chasqui_alias ON public.alias (lower(address));

-- ---- Ids ----

-- One that vanished and is there again is the account that it was, the last one if there were several. For a new one, the
-- slot is a hash of the address, the rest is random: no id is ever given out twice.
CREATE OR REPLACE FUNCTION mail.pfa_bind_account(raw_username text, raw_domain text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    new_id bigint := (hashtextextended(lower(raw_username), 0) << 48) |
                     ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12))::bit(48)::bigint;
    old_id bigint;
BEGIN
    SELECT b.id INTO old_id FROM mail.pfa_account b JOIN mail.pfa_domain d ON d.id = b.domain_id
        WHERE d.raw = raw_domain AND b.local = mail.pfa_local(raw_username) AND b.vanished_us IS NOT NULL
          AND b.state <> 'deleting' AND NOT EXISTS (
              SELECT 1 FROM mail.pfa_account l
              WHERE l.domain_id = b.domain_id AND l.local = b.local AND l.state <> 'deleting' AND l.vanished_us IS NULL)
        ORDER BY b.vanished_us DESC LIMIT 1;
    UPDATE mail.pfa_account SET username = raw_username, vanished_us = NULL, version = mail.note_change(1, old_id, 0)
        WHERE id = old_id AND vanished_us IS NOT NULL AND state <> 'deleting'; -- as it is now: its time may be over
    IF FOUND THEN
        RETURN old_id;
    END IF;
    INSERT INTO mail.pfa_account (id, username, domain_id, local, version)
        SELECT new_id, raw_username, d.id, mail.pfa_local(raw_username), mail.note_change(1, new_id, 0)
        FROM mail.pfa_domain d WHERE d.raw = raw_domain AND position('@' IN raw_username) > 0
        ON CONFLICT DO NOTHING;
    RETURN new_id;
END $$;

CREATE OR REPLACE FUNCTION mail.pfa_bind_domain(raw_domain text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF raw_domain <> 'ALL' THEN
        INSERT INTO mail.pfa_domain (raw, name, version) VALUES (raw_domain, lower(raw_domain), mail.note_change(0, 0, 0))
            ON CONFLICT DO NOTHING;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION mail.pfa_unbind(gone text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mail.pfa_account SET vanished_us = mail.now_us(), version = mail.note_change(1, id, 0)
        WHERE username = gone AND state <> 'deleting' AND vanished_us IS NULL;
END $$;

-- For operators: a mailbox that is gone from public.mailbox, and its mail, are deleted now.
CREATE OR REPLACE FUNCTION mail.pfa_forget(gone text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mail.pfa_account SET state = 'deleting', state_us = mail.now_us(), version = mail.note_change(1, id, 0)
        WHERE username = gone AND state <> 'deleting'
          AND (vanished_us IS NOT NULL OR NOT EXISTS (SELECT 1 FROM public.mailbox m WHERE m.username = gone));
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no mailbox of that name is gone from public.mailbox');
    END IF;
END $$;

-- Time counts only while somebody looks: neither a restored copy of the database, however old, nor a long outage, nor a
-- clock that was set, brings forward the end of what vanished.
CREATE OR REPLACE FUNCTION mail.pfa_count_time() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    looked bigint;
    now_us bigint := mail.now_us();
BEGIN
    SELECT looked_us INTO looked FROM mail.pfa_watch;
    IF abs(now_us - looked) < 60000000 THEN
        RETURN;
    END IF;
    SELECT looked_us INTO looked FROM mail.pfa_watch FOR UPDATE;
    IF abs(now_us - looked) > mail.pfa_later_us() THEN
        UPDATE mail.pfa_account SET vanished_us = vanished_us + now_us - looked
            WHERE vanished_us IS NOT NULL AND state <> 'deleting';
    END IF;
    UPDATE mail.pfa_watch SET looked_us = now_us;
END $$;

-- What is gone without a trigger's word (TRUNCATE, triggers off) is a table that is being loaded anew, when it is much:
-- then nobody loses his mail for it.
CREATE OR REPLACE FUNCTION mail.bind_new(keep_us bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    done bigint := 0;
    bound bigint;
    gone bigint;
    one record;
BEGIN
    FOR one IN SELECT d.domain::text AS raw FROM public.domain d
               WHERE d.domain <> 'ALL' AND NOT EXISTS (SELECT 1 FROM mail.pfa_domain b WHERE b.raw = d.domain) LOOP
        PERFORM mail.pfa_bind_domain(one.raw);
    END LOOP;
    FOR one IN SELECT m.username::text AS username, m.domain::text AS domain FROM public.mailbox m
               WHERE NOT EXISTS (SELECT 1 FROM mail.pfa_account b
                                 WHERE b.username = m.username AND b.state <> 'deleting' AND b.vanished_us IS NULL) LOOP
        PERFORM mail.pfa_bind_account(one.username, one.domain);
        done := done + 1;
    END LOOP;
    SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM public.mailbox m WHERE m.username = b.username))
        INTO bound, gone FROM mail.pfa_account b WHERE b.state <> 'deleting' AND b.vanished_us IS NULL;
    IF gone > greatest(10, bound / 10) OR (gone > 0 AND NOT EXISTS (SELECT 1 FROM public.mailbox)) THEN
        RAISE WARNING 'chasqui: % of % mailboxes are gone from public.mailbox at once: their mail is kept', gone, bound
            USING HINT = 'Load the table again; or, when they are to go: SELECT mail.pfa_unbind(username)';
    ELSIF gone > 0 THEN
        PERFORM mail.pfa_unbind(b.username) FROM mail.pfa_account b
            WHERE b.state <> 'deleting' AND b.vanished_us IS NULL
              AND NOT EXISTS (SELECT 1 FROM public.mailbox m WHERE m.username = b.username);
    END IF;
    PERFORM mail.pfa_count_time();
    UPDATE mail.pfa_account SET state = 'deleting', state_us = mail.now_us(), version = mail.note_change(1, id, 0)
        WHERE vanished_us <= mail.now_us() - keep_us AND state <> 'deleting';
    RETURN done;
END $$;

-- Of front-ends before vanished_keep.
CREATE OR REPLACE FUNCTION mail.bind_new() RETURNS bigint LANGUAGE sql AS $$ SELECT mail.bind_new(7 * 86400000000) $$;

-- ---- What postfixadmin changes goes into the feed ----

CREATE OR REPLACE FUNCTION mail.on_pfa_mailbox() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bound bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM mail.pfa_bind_domain(NEW.domain::text);
        PERFORM mail.pfa_bind_account(NEW.username::text, NEW.domain::text);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM mail.pfa_unbind(OLD.username::text);
    ELSIF NEW.username <> OLD.username THEN
        UPDATE mail.pfa_account SET username = NEW.username, local = mail.pfa_local(NEW.username::text),
            domain_id = (SELECT id FROM mail.pfa_domain WHERE raw = NEW.domain), version = mail.note_change(1, id, 0)
            WHERE username = OLD.username AND state <> 'deleting' AND vanished_us IS NULL;
    ELSE
        SELECT id INTO bound FROM mail.pfa_account
            WHERE username = NEW.username AND state <> 'deleting' AND vanished_us IS NULL;
        IF bound IS NOT NULL AND NEW.password IS DISTINCT FROM OLD.password THEN
            UPDATE mail.pfa_account SET version = mail.note_change(3, bound,
                mail.pfa_credential_id(OLD.username::text, OLD.password::text)) WHERE id = bound;
        ELSIF bound IS NOT NULL AND (NEW.active IS DISTINCT FROM OLD.active OR NEW.quota IS DISTINCT FROM OLD.quota) THEN
            UPDATE mail.pfa_account SET version = mail.note_change(1, bound, 0) WHERE id = bound;
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION mail.on_pfa_domain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM mail.pfa_bind_domain(NEW.domain::text);
    END IF;
    PERFORM mail.note_change(0, 0, 0);
    IF TG_OP = 'UPDATE' AND NEW.active IS DISTINCT FROM OLD.active THEN
        UPDATE mail.pfa_account SET version = mail.note_change(1, id, 0)
            WHERE domain_id = (SELECT id FROM mail.pfa_domain WHERE raw = NEW.domain) AND state <> 'deleting';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION mail.on_pfa_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mail.note_change(CASE WHEN TG_TABLE_NAME = 'alias' THEN 2 ELSE 0 END, 0, 0);
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS chasqui ON public.mailbox;
DROP TRIGGER IF EXISTS chasqui ON public.domain;
DROP TRIGGER IF EXISTS chasqui ON public.alias;
DROP TRIGGER IF EXISTS chasqui ON public.alias_domain;
CREATE TRIGGER chasqui AFTER INSERT OR UPDATE OR DELETE ON public.mailbox
    FOR EACH ROW EXECUTE FUNCTION mail.on_pfa_mailbox();
CREATE TRIGGER chasqui AFTER INSERT OR UPDATE OR DELETE ON public.domain
    FOR EACH ROW EXECUTE FUNCTION mail.on_pfa_domain();
CREATE TRIGGER chasqui AFTER INSERT OR UPDATE OR DELETE ON public.alias
    FOR EACH STATEMENT EXECUTE FUNCTION mail.on_pfa_names();
CREATE TRIGGER chasqui AFTER INSERT OR UPDATE OR DELETE ON public.alias_domain
    FOR EACH STATEMENT EXECUTE FUNCTION mail.on_pfa_names();

-- ---- The views ----

-- A domain without an id yet has none here: "later"; as does one that is gone, while its mailboxes are "later".
DROP VIEW IF EXISTS mail.lookup_domain;
CREATE VIEW mail.lookup_domain AS
    SELECT b.id, b.name::text AS name, t.id AS alias_of, t.name::text AS alias_of_name, NULL::bigint AS postmaster, b.version
    FROM mail.pfa_domain b JOIN public.domain d ON d.domain = b.raw AND d.active AND NOT coalesce(d.backupmx, false)
    LEFT JOIN public.alias_domain ad ON ad.alias_domain = b.raw AND ad.active
    LEFT JOIN mail.pfa_domain t ON t.raw = ad.target_domain
    UNION ALL
    SELECT NULL, lower(d.domain)::text, NULL, NULL, NULL, 0 FROM public.domain d
    WHERE d.active AND d.domain <> 'ALL' AND NOT EXISTS (SELECT 1 FROM mail.pfa_domain b WHERE b.raw = d.domain)
    UNION ALL
    SELECT NULL, b.name::text, NULL, NULL, NULL, 0 FROM mail.pfa_domain b
    WHERE NOT EXISTS (SELECT 1 FROM public.domain d WHERE d.domain = b.raw) AND EXISTS (
        SELECT 1 FROM mail.pfa_account a
        WHERE a.domain_id = b.id AND a.state <> 'deleting'
          AND (a.vanished_us IS NULL OR a.vanished_us > mail.now_us() - mail.pfa_later_us()));

-- The accounts behind an alias; NULL for what is not a mailbox of ours with an id.
CREATE OR REPLACE FUNCTION mail.pfa_targets(address text) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    WITH RECURSIVE step (name, depth) AS (
        SELECT lower(trim(g)), 1 FROM public.alias a, unnest(string_to_array(a.goto, ',')) g
        WHERE a.address = $1 AND a.active AND trim(g) <> ''
        UNION
        SELECT lower(trim(g)), s.depth + 1 FROM step s
        JOIN public.alias a ON lower(a.address) = s.name AND a.active, unnest(string_to_array(a.goto, ',')) g
        WHERE s.depth < 10 AND trim(g) <> ''
          AND NOT EXISTS (SELECT 1 FROM public.mailbox m WHERE lower(m.username) = s.name))
    SELECT DISTINCT b.id FROM step s
    LEFT JOIN public.mailbox m ON lower(m.username) = s.name
    LEFT JOIN mail.pfa_account b ON b.username = m.username AND b.state <> 'deleting' AND b.vanished_us IS NULL
    WHERE m.username IS NOT NULL OR NOT EXISTS (
        SELECT 1 FROM public.alias a WHERE lower(a.address) = s.name AND a.active);
$$;

-- A mailbox that has an id and is gone from their table is "later" until bind_new() has judged, and for an hour more.
DROP VIEW IF EXISTS mail.lookup_address;
CREATE VIEW mail.lookup_address AS
    SELECT b.domain_id, b.local::text AS local, d.name::text AS domain, 'primary'::text AS kind,
           CASE WHEN b.vanished_us <= mail.now_us() - mail.pfa_later_us()
                  OR EXISTS (SELECT 1 FROM public.mailbox m WHERE m.username = b.username AND b.vanished_us IS NULL)
                THEN b.id END AS account_id
    FROM mail.pfa_account b JOIN mail.pfa_domain d ON d.id = b.domain_id
    WHERE b.state <> 'deleting' AND (b.vanished_us IS NULL OR NOT EXISTS (
              SELECT 1 FROM mail.pfa_account l
              WHERE l.domain_id = b.domain_id AND l.local = b.local AND l.state <> 'deleting' AND l.vanished_us IS NULL))
      AND NOT (coalesce(b.vanished_us, 0) BETWEEN 1 AND mail.now_us() - mail.pfa_later_us() AND EXISTS (
              SELECT 1 FROM public.alias a WHERE lower(a.address) = lower(b.username) AND a.active))
    UNION ALL
    SELECT d.id, mail.pfa_local(m.username::text), d.name::text, 'primary', NULL
    FROM public.mailbox m JOIN mail.pfa_domain d ON d.raw = m.domain
    WHERE NOT EXISTS (SELECT 1 FROM mail.pfa_account b
                      WHERE b.username = m.username AND b.state <> 'deleting' AND b.vanished_us IS NULL)
    UNION ALL
    SELECT d.id, mail.pfa_local(a.address::text), d.name::text,
           CASE WHEN a.address LIKE '@%' THEN 'catchall' ELSE 'alias' END, t.id
    FROM public.alias a JOIN mail.pfa_domain d ON d.raw = a.domain
    LEFT JOIN LATERAL mail.pfa_targets(a.address::text) AS t (id) ON true
    WHERE a.active AND NOT EXISTS (SELECT 1 FROM public.mailbox m WHERE lower(m.username) = lower(a.address));

DROP VIEW IF EXISTS mail.lookup_account;
CREATE VIEW mail.lookup_account AS
    SELECT b.id, b.version, b.domain_id, b.local || '@' || d.name AS address,
           CASE WHEN b.state <> 'active' THEN b.state WHEN m.username IS NULL THEN 'vanished'
                WHEN m.active AND p.active THEN 'active' ELSE 'disabled' END AS state,
           7 AS services, false AS admin, b.plan, b.home_dc, greatest(coalesce(m.quota, 0), 0)::bigint AS quota_bytes,
           0::bigint AS quota_messages, b.created_us,
           CASE WHEN b.state = 'active' THEN coalesce(b.vanished_us, b.state_us) ELSE b.state_us END AS state_us
    FROM mail.pfa_account b JOIN mail.pfa_domain d ON d.id = b.domain_id
    LEFT JOIN public.mailbox m ON m.username = b.username AND b.vanished_us IS NULL
    LEFT JOIN public.domain p ON p.domain = d.raw;

DROP VIEW IF EXISTS mail.lookup_credential;
CREATE VIEW mail.lookup_credential AS
    SELECT mail.pfa_credential_id(m.username::text, m.password::text) AS id, b.id AS account_id, 'password'::text AS kind,
           7 AS scopes, ''::text AS prefix,
           CASE WHEN b.rehash_of = md5(m.password::text) THEN b.rehash ELSE m.password::text END AS hash, ''::text AS label,
           b.created_us, 0::bigint AS expires_us, b.last_used_us, 1::bigint AS version
    FROM mail.pfa_account b JOIN public.mailbox m ON m.username = b.username
    WHERE b.state <> 'deleting' AND b.vanished_us IS NULL;

-- ---- Writing: what is ours of it ----

CREATE OR REPLACE FUNCTION mail.pfa_refuse() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mail.refuse('CQUNS', 'domains and accounts are postfixadmin''s: change them there');
END $$;

CREATE OR REPLACE FUNCTION mail.domain_add(new_name text, target bigint, now_us bigint) RETURNS bigint
LANGUAGE sql AS $$ SELECT mail.pfa_refuse(); SELECT 0::bigint $$;
CREATE OR REPLACE FUNCTION mail.domain_set_postmaster(of_domain bigint, of_account bigint) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;
CREATE OR REPLACE FUNCTION mail.domain_remove(of_domain bigint) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;
CREATE OR REPLACE FUNCTION mail.target_add(of_domain bigint, new_local text, new_kind text, of_account bigint,
                                           targets_max bigint) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;
CREATE OR REPLACE FUNCTION mail.target_remove(of_domain bigint, old_local text, of_account bigint) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;
CREATE OR REPLACE FUNCTION mail.account_add(new_id bigint, of_domain bigint, new_local text, new_plan text, dc text,
                                            new_services bigint, is_admin boolean, bytes bigint, messages bigint,
                                            now_us bigint, password text) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;
CREATE OR REPLACE FUNCTION mail.account_update(of_account bigint, what bigint, expected bigint, new_plan text,
                                               new_services bigint, bytes bigint, messages bigint, is_admin boolean,
                                               dc text) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;
CREATE OR REPLACE FUNCTION mail.credential_put(of_account bigint, new_kind text, new_scopes bigint, new_prefix text,
                                               new_hash text, new_label text, expires bigint, now_us bigint,
                                               app_max bigint) RETURNS bigint
LANGUAGE sql AS $$ SELECT mail.pfa_refuse(); SELECT 0::bigint $$;
CREATE OR REPLACE FUNCTION mail.credential_remove(of_account bigint, of_credential bigint) RETURNS void
LANGUAGE sql AS $$ SELECT mail.pfa_refuse() $$;

-- The reconciler's: creating -> active, and the end of one that is deleted. An operator's: the end of what vanished.
CREATE OR REPLACE FUNCTION mail.account_set_state(of_account bigint, from_states text, to_state text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    old_state text;
BEGIN
    SELECT CASE WHEN state = 'active' AND vanished_us IS NOT NULL THEN 'vanished' ELSE state END INTO old_state
        FROM mail.pfa_account WHERE id = of_account FOR UPDATE;
    IF old_state IS NULL THEN
        PERFORM mail.refuse('CQNOT', 'no such account');
    ELSIF old_state = to_state THEN
        RETURN;
    ELSIF NOT old_state = ANY (string_to_array(from_states, ',')) THEN
        PERFORM mail.refuse('CQCON', 'the account is ' || old_state);
    ELSIF (old_state, to_state) NOT IN (('creating', 'active'), ('vanished', 'deleting')) THEN
        PERFORM mail.pfa_refuse();
    END IF;
    UPDATE mail.pfa_account SET state = to_state, state_us = mail.now_us(), version = mail.note_change(1, of_account, 0)
        WHERE id = of_account;
END $$;

CREATE OR REPLACE FUNCTION mail.account_remove(of_account bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mail.pfa_account WHERE id = of_account AND state = 'deleting';
    IF FOUND THEN
        PERFORM mail.note_change(1, of_account, 0);
    ELSIF EXISTS (SELECT 1 FROM mail.pfa_account WHERE id = of_account) THEN
        PERFORM mail.refuse('CQCON', 'the account is not deleting');
    ELSE
        PERFORM mail.refuse('CQNOT', 'no such account');
    END IF;
END $$;

CREATE OR REPLACE FUNCTION mail.credential_rehash(of_credential bigint, old_version bigint, new_hash text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mail.pfa_account b SET rehash = new_hash, rehash_of = md5(m.password::text) FROM public.mailbox m
        WHERE m.username = b.username AND b.state <> 'deleting' AND b.vanished_us IS NULL
          AND mail.pfa_credential_id(m.username::text, m.password::text) = of_credential;
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no such credential');
    END IF;
END $$;

CREATE OR REPLACE FUNCTION mail.credential_used(of_credential bigint, now_us bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mail.pfa_account b SET last_used_us = greatest(b.last_used_us, now_us) FROM public.mailbox m
        WHERE m.username = b.username AND b.state <> 'deleting' AND b.vanished_us IS NULL
          AND mail.pfa_credential_id(m.username::text, m.password::text) = of_credential;
    IF NOT FOUND THEN
        PERFORM mail.refuse('CQNOT', 'no such credential');
    END IF;
END $$;

SELECT mail.bind_new(7 * 86400000000);
