"""What the doctor looks at: facts of a machine, and functions that judge them; no engine."""
