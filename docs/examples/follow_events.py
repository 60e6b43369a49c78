#!/usr/bin/python3
"""A consumer that acts on each event exactly once (docs/events.md).

    docs/examples/follow_events.py BROKERS DATABASE TOPIC... [--until-idle SECONDS]

What it does with an event stands for yours: it counts events by type. That, the events' ids and how far each partition
was read are written in one transaction, so a crash at any moment neither loses an event nor counts one twice. Here the
database is SQLite; in PostgreSQL the statements are the same. Needs python3-confluent-kafka."""

import argparse
import sqlite3
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen_event (id TEXT PRIMARY KEY, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS position (topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS event_count (type TEXT PRIMARY KEY, events INTEGER NOT NULL);
"""
BATCH = 500  # records of one transaction
KEEP_SECONDS = 24 * 3600  # longer than any repetition takes to come; as long as you would replay


def act(db, kind, record):
    """Yours. `record.value()` is the event's data: JSON, or protobuf where the header content-type says so."""
    db.execute("INSERT INTO event_count VALUES (?, 1) ON CONFLICT (type) DO UPDATE SET events = events + 1", (kind,))


def take(db, record):
    headers = {name: value.decode() for name, value in record.headers() or []}
    new = db.execute("INSERT INTO seen_event VALUES (?, ?) ON CONFLICT DO NOTHING", (headers["ce_id"], time.time()))
    if new.rowcount:
        act(db, headers["ce_type"], record)
    db.execute("INSERT INTO position VALUES (?, ?, ?) ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
               (record.topic(), record.partition(), record.offset() + 1))


def partitions(consumer, db, topics):
    """Where the last run ended; the beginning of what it has not seen."""
    ended = {(topic, partition): next for topic, partition, next in db.execute("SELECT * FROM position")}
    known = consumer.list_topics(timeout=30).topics
    return [TopicPartition(topic, p, ended.get((topic, p), OFFSET_BEGINNING)) for topic in topics
            for p in known[topic].partitions]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("brokers")
    parser.add_argument("database")
    parser.add_argument("topics", nargs="+")
    parser.add_argument("--until-idle", type=float, default=float("inf"), help="end when nothing came for so long")
    options = parser.parse_args()
    db = sqlite3.connect(options.database)
    db.executescript(SCHEMA)
    consumer = Consumer({"bootstrap.servers": options.brokers, "group.id": "follow-events", "enable.auto.commit": False})
    consumer.assign(partitions(consumer, db, options.topics))
    last = swept = time.monotonic()
    while time.monotonic() - last < options.until_idle:
        records = [r for r in consumer.consume(BATCH, 0.5) if not r.error()]
        with db:  # one transaction
            for record in records:
                take(db, record)
        if records:
            last = time.monotonic()
        if time.monotonic() - swept > 3600:
            with db:
                db.execute("DELETE FROM seen_event WHERE seen_at < ?", (time.time() - KEEP_SECONDS,))
            swept = time.monotonic()
    consumer.close()


if __name__ == "__main__":
    main()
