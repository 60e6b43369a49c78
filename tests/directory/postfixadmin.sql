-- The tables of postfixadmin 3.3 (PostgreSQL) that we read, with its types.
DROP TABLE IF EXISTS public.alias_domain, public.alias, public.mailbox, public.domain CASCADE;
CREATE TABLE public.domain (
    domain varchar(255) NOT NULL PRIMARY KEY,
    description varchar(255) NOT NULL DEFAULT '',
    aliases integer NOT NULL DEFAULT 0,
    mailboxes integer NOT NULL DEFAULT 0,
    maxquota integer NOT NULL DEFAULT 0,
    quota integer NOT NULL DEFAULT 0,
    transport varchar(255) DEFAULT NULL,
    backupmx boolean NOT NULL DEFAULT false,
    created timestamp with time zone DEFAULT now(),
    modified timestamp with time zone DEFAULT now(),
    active boolean NOT NULL DEFAULT true,
    password_expiry integer DEFAULT 0
);
CREATE TABLE public.mailbox (
    username varchar(255) NOT NULL PRIMARY KEY,
    password varchar(255) NOT NULL DEFAULT '',
    name varchar(255) NOT NULL DEFAULT '',
    maildir varchar(255) NOT NULL DEFAULT '',
    quota bigint NOT NULL DEFAULT 0,
    created timestamp with time zone DEFAULT now(),
    modified timestamp with time zone DEFAULT now(),
    active boolean NOT NULL DEFAULT true,
    domain varchar(255) REFERENCES public.domain (domain),
    local_part varchar(255) NOT NULL,
    phone varchar(30) NOT NULL DEFAULT '',
    email_other varchar(255) NOT NULL DEFAULT '',
    token varchar(255) NOT NULL DEFAULT '',
    token_validity timestamp with time zone DEFAULT '2000-01-01 00:00:00',
    password_expiry timestamp with time zone DEFAULT now() + interval '365 days'
);
CREATE TABLE public.alias (
    address varchar(255) NOT NULL PRIMARY KEY,
    goto text NOT NULL,
    domain varchar(255) NOT NULL REFERENCES public.domain (domain),
    created timestamp with time zone DEFAULT now(),
    modified timestamp with time zone DEFAULT now(),
    active boolean NOT NULL DEFAULT true
);
CREATE TABLE public.alias_domain (
    alias_domain varchar(255) NOT NULL PRIMARY KEY REFERENCES public.domain (domain) ON DELETE CASCADE,
    target_domain varchar(255) NOT NULL REFERENCES public.domain (domain) ON DELETE CASCADE,
    created timestamp with time zone DEFAULT now(),
    modified timestamp with time zone DEFAULT now(),
    active boolean NOT NULL DEFAULT true
);
INSERT INTO public.domain (domain) VALUES ('ALL'), ('a.test'), ('b.test');
INSERT INTO public.domain (domain, active) VALUES ('off.test', false);
INSERT INTO public.alias_domain (alias_domain, target_domain) VALUES ('b.test', 'a.test');
-- "correct horse"
INSERT INTO public.mailbox (username, local_part, domain, password, quota) VALUES
    ('anna@a.test', 'anna', 'a.test', '{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2', 1048576),
    ('Bert@a.test', 'Bert', 'a.test', '$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e', 0);
INSERT INTO public.alias (address, goto, domain) VALUES
    ('anna@a.test', 'anna@a.test', 'a.test'),
    ('Bert@a.test', 'Bert@a.test,elsewhere@example.com', 'a.test'),
    ('both@a.test', 'anna@a.test, bert@a.test', 'a.test'),
    ('chain@a.test', 'both@a.test', 'a.test'),
    ('loop@a.test', 'loop2@a.test,anna@a.test', 'a.test'),
    ('loop2@a.test', 'loop@a.test', 'a.test'),
    ('out@a.test', 'anna@a.test,elsewhere@example.com', 'a.test'),
    ('@a.test', 'anna@a.test', 'a.test');
