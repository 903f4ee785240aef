"""Ray and its nodes: starts or joins Ray, places actors, checks nodes and submits jobs."""
