package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// assertionLife is how long an assertion holds: as long as it takes to arrive.
const assertionLife = time.Minute

// assertion proves who the sidecar is to its token endpoint (RFC 7523 section 3).
// Each is good once.
func (e *tokenEndpoint) assertion() (string, error) {
	key, now := e.key.get().Reveal(), e.opts.Now()
	token := jwt.NewWithClaims(signingMethod(key), jwt.RegisteredClaims{
		Issuer: e.opts.ClientID, Subject: e.opts.ClientID, Audience: jwt.ClaimStrings{e.opts.URL}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(assertionLife)),
	})
	if e.opts.KeyID != "" {
		token.Header["kid"] = e.opts.KeyID
	}
	return token.SignedString(key)
}

func signingMethod(key crypto.Signer) jwt.SigningMethod {
	switch key.(type) {
	case *rsa.PrivateKey:
		return jwt.SigningMethodRS256
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA
	}
	return jwt.SigningMethodES256
}

// minRSA is the least length of an RSA key, in bits.
const minRSA = 2048

// parseSigner reads a private key in PEM (PKCS #8) that one of the algorithms which
// tokens are accepted with can use.
func parseSigner(text []byte) (Hidden[crypto.Signer], error) {
	key, err := signerIn(text)
	return Hide(key), err // an Ed25519 key is bytes that would be printed
}

func signerIn(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("holds no private key in PEM (PKCS #8, BEGIN PRIVATE KEY)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("holds a private key that cannot be read") // the error could quote it
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= minRSA {
			return k, nil
		}
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return k, nil
		}
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, errors.New("holds a private key of no use: RSA of 2,048 bits or more, P-256 or Ed25519 is needed")
}
