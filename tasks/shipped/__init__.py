"""The models that ship, and how they are made."""
