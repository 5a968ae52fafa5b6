// Package pki is Cairn's own certificate authority and the certificates that it
// signs: of the API server, of hosts and of controllers.
//
// Its input is a data directory that keeps the CA's key (mode 0600), public keys
// from certificate requests, and the time; its output is certificates and
// tls.Configs. It takes nothing from a request but the public key: who somebody is
// says the caller. The key of the CA leaves it by Export alone, for another controller
// and for backups.
package pki
