-- Searches by the words of a resource, and the index made anew where an upgrade indexes more than was indexed before.

-- The words of the narrative (_text) and of the whole resource (_content), folded as every text that is searched.
CREATE TABLE index_text (
    patient_id text NOT NULL,
    key        bigint PRIMARY KEY REFERENCES resource (key) ON DELETE CASCADE,
    narrative  tsvector NOT NULL,
    content    tsvector NOT NULL
);
CREATE INDEX index_text_narrative ON index_text USING gin (narrative);
CREATE INDEX index_text_content ON index_text USING gin (content);

-- What the index was made by (a hash of the search parameters), and how far it is made anew since that changed. Where
-- nothing is indexed yet, it is made by whichever server comes first ('').
CREATE TABLE search_index (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    made_by  text NOT NULL,
    next_key bigint                               -- the next resource to index again; null = all are
);
INSERT INTO search_index (made_by) SELECT '' WHERE NOT EXISTS (SELECT FROM resource);
