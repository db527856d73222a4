"""What is searched: parameters, grids, constraints. No engine is imported here."""
