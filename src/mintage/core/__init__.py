"""The narrow waist: types, protocols, registry, storage, words. Imports no torch and nothing else of Mintage."""
