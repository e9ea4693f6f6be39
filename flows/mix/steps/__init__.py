"""The steps of a mix: each is kept in the store under all that its result depends on."""
