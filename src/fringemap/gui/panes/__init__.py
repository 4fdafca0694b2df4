"""One module a part of the page: each gives ``ROUTES``, the questions that its part asks."""
