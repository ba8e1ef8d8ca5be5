"""What the project claims of real networks, each checked against something apart from it.

One module for each claim: it checks one model file and says in a :class:`~claims.claim.Row` what it found. The tests
take the bundled models through them, ``benchmarks/correctness.py`` any models.
"""
