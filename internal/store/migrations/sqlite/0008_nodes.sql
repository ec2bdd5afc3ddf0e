-- +goose Up
-- Several nodes are for PostgreSQL: this ledger belongs to one.
SELECT 1;

-- +goose Down
SELECT 1;
