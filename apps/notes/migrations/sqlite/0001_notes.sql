-- Times are microseconds since 1970, which both databases can compare and neither converts.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL
) STRICT;

-- Only a digest of a token is kept: who reads this table cannot sign in with it.
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_owner ON tokens (owner);

-- AUTOINCREMENT: the number of a note that was deleted must not come back, its address may still be known.
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_by_owner ON notes (owner, id);

CREATE TABLE note_tags (
    note INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (note, tag)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE notes_fts USING fts5 (title, text, content = 'notes', content_rowid = 'id');
CREATE TRIGGER notes_inserted AFTER INSERT ON notes BEGIN
    INSERT INTO notes_fts (rowid, title, text) VALUES (new.id, new.title, new.text);
END;
CREATE TRIGGER notes_deleted AFTER DELETE ON notes BEGIN
    INSERT INTO notes_fts (notes_fts, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
END;
CREATE TRIGGER notes_updated AFTER UPDATE ON notes BEGIN
    INSERT INTO notes_fts (notes_fts, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
    INSERT INTO notes_fts (rowid, title, text) VALUES (new.id, new.title, new.text);
END;
