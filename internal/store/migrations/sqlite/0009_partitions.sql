-- +goose Up
-- Only PostgreSQL has partitions.
SELECT 1;

-- +goose Down
SELECT 1;
