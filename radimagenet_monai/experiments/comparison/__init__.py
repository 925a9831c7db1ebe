"""Which initialization is better on these data: the plan, its runs, and what follows from them."""
