"""Features of a session so far: what a classical model looks at (lesson 03)."""
