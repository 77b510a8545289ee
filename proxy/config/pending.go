package config

// pendingConsent are values of consent that are not built yet.
var pendingConsent = []string{"elicit"}
