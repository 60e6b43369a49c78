-- works-with: 1
-- Rows of somebody else's tables that vanish: their mail is kept for a while (directory.postgresql.vanished_keep).

-- bind_new() is told for how long (microseconds) accounts whose row vanished are kept. A site's own bind_new() goes
-- on; postfixadmin.sql of before would delete at once, so until it is run again nothing is bound and nothing deleted.
DO $do$
BEGIN
    IF to_regclass('mail.pfa_account') IS NULL THEN
        CREATE FUNCTION mail.bind_new(keep_us bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT mail.bind_new() $$;
    ELSE
        ALTER TABLE mail.pfa_account ADD COLUMN IF NOT EXISTS vanished_us bigint;
        CREATE OR REPLACE FUNCTION mail.pfa_unbind(gone text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE mail.pfa_account SET vanished_us = mail.now_us(), version = mail.note_change(1, id, 0)
                WHERE username = gone AND state <> 'deleting' AND vanished_us IS NULL;
        END $$;
        CREATE FUNCTION mail.bind_new(keep_us bigint) RETURNS bigint LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM mail.refuse('CQUNS', 'postfixadmin''s tables are read as an older Chasqui did: '
                                         'run postfixadmin.sql of this one with psql');
            RETURN 0;
        END $$;
    END IF;
END $do$;
