-- +goose Up
-- What is long dead is found by its end. subscriptions_token serves the foreign
-- key when a token goes.
CREATE INDEX subscriptions_expiry ON subscriptions (expires_at);
CREATE INDEX subscriptions_token ON subscriptions (token_id);
CREATE INDEX access_tokens_expiry ON access_tokens (expires_at);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- +goose Down
SELECT 1;
