"""`fgsn simulate`: drives through procedural towns."""
