/* Everything that the embedded directory asks of SQLite, by name. Prepared once for each connection. */
#ifndef CHASQUI_DIR_SQLITE_STATEMENTS_H
#define CHASQUI_DIR_SQLITE_STATEMENTS_H

#define SQ_ACCOUNT_COLUMNS                                                                                             \
    "SELECT a.id, a.version, a.domain_id, a.local || '@' || d.name, a.state, a.services, a.admin, a.plan, a.home_dc, " \
    "a.quota_bytes, a.quota_messages, a.created_us, a.state_us FROM account a JOIN domain d ON d.id = a.domain_id "
#define SQ_DOMAIN_COLUMNS                                                                                              \
    "SELECT d.id, d.name, d.alias_of, t.name, d.postmaster, d.version FROM domain d LEFT JOIN domain t ON t.id = "     \
    "d.alias_of "
#define SQ_ADDRESS_COLUMNS                                                                                             \
    "SELECT r.local || '@' || d.name, r.kind, r.domain_id, r.local FROM address r JOIN domain d ON d.id = "            \
    "r.domain_id "

#define SQ_STATEMENTS(X)                                                                                               \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(BEGIN_READ, "BEGIN")                                                                                             \
    X(COMMIT, "COMMIT")                                                                                                \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(DOMAIN_GET, SQ_DOMAIN_COLUMNS "WHERE d.name = ?1")                                                               \
    X(DOMAIN_LIST, SQ_DOMAIN_COLUMNS "WHERE d.name > ?1 ORDER BY d.name LIMIT ?2")                                     \
    X(DOMAIN_ADD, "INSERT INTO domain (name, alias_of, created_us) VALUES (?1, nullif(?2, 0), ?3)")                    \
    X(DOMAIN_POSTMASTER, "UPDATE domain SET postmaster = nullif(?2, 0) WHERE id = ?1")                                 \
    X(DOMAIN_VERSION, "UPDATE domain SET version = ?2 WHERE id = ?1")                                                  \
    X(DOMAIN_REMOVE, "DELETE FROM domain WHERE id = ?1")                                                               \
    X(FIRST_OF_DOMAIN, "SELECT id FROM account WHERE state = 'active' AND admin = ?1 AND domain_id = ?2 "              \
                       "ORDER BY created_us LIMIT 1")                                                                  \
    X(FIRST_OF_ALL, "SELECT id FROM account WHERE state = 'active' AND admin = ?1 ORDER BY created_us LIMIT 1")        \
    X(ADDRESS_GET, SQ_ADDRESS_COLUMNS "WHERE r.domain_id = ?1 AND r.local = ?2")                                       \
    X(ADDRESS_OF_ACCOUNT,                                                                                              \
      SQ_ADDRESS_COLUMNS "JOIN address_target t ON t.domain_id = r.domain_id AND t.local = r.local "                   \
                         "WHERE t.account_id = ?1 "                                                                    \
                         "ORDER BY r.kind != 'primary', d.name, r.local LIMIT ?2")                                     \
    X(ADDRESS_OF_DOMAIN, SQ_ADDRESS_COLUMNS "WHERE r.domain_id = ?1 ORDER BY r.local LIMIT ?2")                        \
    X(ADDRESS_ADD, "INSERT INTO address (domain_id, local, kind) VALUES (?1, ?2, ?3)")                                 \
    X(ADDRESS_REMOVE, "DELETE FROM address WHERE domain_id = ?1 AND local = ?2")                                       \
    X(ADDRESS_REMOVE_EMPTY,                                                                                            \
      "DELETE FROM address WHERE domain_id = ?1 AND local = ?2 AND NOT EXISTS (SELECT 1 FROM address_target t "        \
      "WHERE t.domain_id = ?1 AND t.local = ?2)")                                                                      \
    X(TARGETS_GET, "SELECT account_id FROM address_target WHERE domain_id = ?1 AND local = ?2 ORDER BY account_id")    \
    X(TARGET_ADD, "INSERT INTO address_target (domain_id, local, account_id) VALUES (?1, ?2, ?3)")                     \
    X(TARGET_REMOVE, "DELETE FROM address_target WHERE domain_id = ?1 AND local = ?2 AND account_id = ?3")             \
    X(ADDRESSES_GONE_WITH, "DELETE FROM address WHERE (domain_id, local) IN (SELECT domain_id, local FROM "            \
                           "address_target WHERE account_id = ?1) AND (SELECT count(*) FROM address_target t WHERE "   \
                           "t.domain_id = address.domain_id AND t.local = address.local) = 1")                         \
    X(ACCOUNT_GET, SQ_ACCOUNT_COLUMNS "WHERE a.id = ?1")                                                               \
    X(ACCOUNT_LIST, SQ_ACCOUNT_COLUMNS "WHERE a.id BETWEEN ?1 AND ?2 AND (?3 = 0 OR a.domain_id = ?3) "                \
                                       "AND a.state IN (?4, ?5, ?6, ?7) ORDER BY a.id LIMIT ?8")                       \
    X(PENDING_LIST, SQ_ACCOUNT_COLUMNS "WHERE a.state IN ('creating', 'deleting') AND (a.state_us, a.id) > (?1, ?2) "  \
                                       "AND a.state_us <= ?3 ORDER BY a.state_us, a.id LIMIT ?4")                      \
    X(PENDING_COUNT, "SELECT state, count(*), min(state_us) FROM account WHERE state IN ('creating', 'deleting') "     \
                     "GROUP BY state")                                                                                 \
    X(ACCOUNT_ADD,                                                                                                     \
      "INSERT INTO account (id, domain_id, local, state, plan, home_dc, services, admin, quota_bytes, "                \
      "quota_messages, created_us, state_us) VALUES (?1, ?2, ?3, 'creating', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")       \
    X(ACCOUNT_EXISTS, "SELECT 1 FROM account WHERE id = ?1")                                                           \
    X(ACCOUNT_UPDATE, "UPDATE account SET plan = CASE WHEN ?2 & 1 THEN ?3 ELSE plan END, "                             \
                      "services = CASE WHEN ?2 & 2 THEN ?4 ELSE services END, "                                        \
                      "quota_bytes = CASE WHEN ?2 & 4 THEN ?5 ELSE quota_bytes END, "                                  \
                      "quota_messages = CASE WHEN ?2 & 4 THEN ?6 ELSE quota_messages END, "                            \
                      "admin = CASE WHEN ?2 & 8 THEN ?7 ELSE admin END, "                                              \
                      "home_dc = CASE WHEN ?2 & 16 THEN ?8 ELSE home_dc END WHERE id = ?1")                            \
    X(ACCOUNT_STATE, "UPDATE account SET state = ?2, state_us = ?3 WHERE id = ?1")                                     \
    X(ACCOUNT_VERSION, "UPDATE account SET version = ?2 WHERE id = ?1")                                                \
    X(ACCOUNT_REMOVE, "DELETE FROM account WHERE id = ?1")                                                             \
    X(CREDENTIAL_LIST, "SELECT id, account_id, kind, scopes, prefix, hash, label, created_us, expires_us, "            \
                       "last_used_us, version FROM credential WHERE account_id = ?1 ORDER BY id")                      \
    X(CREDENTIAL_GET_VERSION, "SELECT version FROM credential WHERE id = ?1")                                          \
    X(CREDENTIAL_COUNT, "SELECT count(*) FROM credential WHERE account_id = ?1 AND kind = 'app_password'")             \
    X(CREDENTIAL_ADD,                                                                                                  \
      "INSERT INTO credential (account_id, kind, scopes, prefix, hash, label, created_us, expires_us) "                \
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                                                       \
    X(CREDENTIAL_VERSION, "UPDATE credential SET version = ?2 WHERE id = ?1")                                          \
    X(CREDENTIAL_REHASH, "UPDATE credential SET hash = ?2 WHERE id = ?1")                                              \
    X(CREDENTIAL_USED, "UPDATE credential SET last_used_us = ?2 WHERE id = ?1 AND last_used_us < ?2")                  \
    X(CREDENTIAL_REMOVE, "DELETE FROM credential WHERE id = ?1 AND account_id = ?2")                                   \
    X(PASSWORD_REMOVE, "DELETE FROM credential WHERE account_id = ?1 AND kind = 'password'")                           \
    X(CHANGE_ADD, "INSERT INTO change (kind, account_id, credential_id, at_us) VALUES (?1, ?2, ?3, ?4)")               \
    X(CHANGE_TRIM, "DELETE FROM change WHERE version <= ?1")                                                           \
    X(CHANGE_LIST, "SELECT version, kind, account_id, credential_id FROM change WHERE version > ?1 "                   \
                   "ORDER BY version LIMIT ?2")                                                                        \
    X(CHANGE_BOUNDS, "SELECT ifnull(min(version), 1), ifnull(max(version), 0) FROM change")

enum sq_statement {
#define SQ_STATEMENT_ENUM(name, sql) S_##name,
    SQ_STATEMENTS(SQ_STATEMENT_ENUM)
#undef SQ_STATEMENT_ENUM
        S_COUNT
};

#endif
