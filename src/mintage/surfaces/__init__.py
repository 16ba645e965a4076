"""Where people meet the verbs: the command line (later the HTTP API and the Studio). No logic lives here."""
