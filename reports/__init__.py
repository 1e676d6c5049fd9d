"""Facts first, pictures second: versioned report documents (schema), their environment, their rendering."""
