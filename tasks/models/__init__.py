"""Model folders: found or made from what params.yaml names, checked, and known by the digest of their files."""
