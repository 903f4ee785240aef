"""Ray and its nodes: starting or joining it, placing actors, checking nodes, submitting jobs."""
