"""Keys, seals and certificates: the only room that imports cryptography. Knows no database and no store."""
