"""Mail for many: who may post to a mailing list, and how a post becomes the copies of its members."""
