"""People's votes: rows out as tasks, votes back in, and what is made of them."""
