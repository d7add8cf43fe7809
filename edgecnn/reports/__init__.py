"""What measurements say: one schema, and the reports made of it."""
