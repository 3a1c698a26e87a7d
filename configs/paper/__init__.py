"""The paper's tables: a module for each, an option for the row (docs/paper.md lists all)."""
