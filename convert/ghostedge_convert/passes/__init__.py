"""Graph edits: one file, one edit, one public function; the computed function is unchanged."""
