-- Times are microseconds since 1970, which both databases can compare and neither converts.

CREATE TABLE users (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL
);

-- Only a digest of a token is kept: who reads this table cannot sign in with it.
CREATE TABLE tokens (
    digest TEXT PRIMARY KEY,
    owner BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires BIGINT NOT NULL
);
CREATE INDEX tokens_by_owner ON tokens (owner);

CREATE TABLE notes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    -- 'simple': no language is known, so no word is shortened or left out.
    words TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple', title || ' ' || text)) STORED
);
CREATE INDEX notes_by_owner ON notes (owner, id);
CREATE INDEX notes_by_word ON notes USING gin (words);

CREATE TABLE note_tags (
    note BIGINT NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (note, tag)
);
