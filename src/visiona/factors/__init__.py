"""Second factors and passkeys of built-in accounts: one-time codes, recovery codes, WebAuthn."""
