"""From scores to decisions: small roles that models share."""
