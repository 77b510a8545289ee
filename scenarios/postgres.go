package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/go-pg/pg/v10"

	"mcp-sidecar/scenarios/pgserver"
)

// database is a private PostgreSQL server with the documents of each document server,
// and the policy of all sidecars: in databases of their own, under roles of their own.
type database struct {
	server *pgserver.Server
	admin  *pg.DB

	documents string // URL without a database's name, as the role of the documents
	owner     string // URL as who may change the policy
	reader    string // URL as a sidecar
}

// Roles of the demo. Nobody has a right that is not given below.
const (
	documentsRole = "documents"
	ownerRole     = "policy_owner"
	readerRole    = "sidecar"
	policyName    = "policy"
)

// startPostgres starts the database, if one is wanted, and puts the demo's policy there.
func (l *lab) startPostgres(ctx context.Context) error {
	if !l.options.postgres {
		return nil
	}
	server, err := pgserver.Start(ctx, pgserver.Options{})
	if err != nil {
		if errors.Is(err, pgserver.ErrNoBinaries) {
			return coded(exitDependency, err)
		}
		return err
	}
	l.closers = append(l.closers, server.Stop)
	d := &database{server: server}
	o, err := pg.ParseURL(server.AdminURL(pgserver.Superuser))
	if err != nil {
		return err
	}
	o.IdleCheckFrequency = -1 // its goroutine outlives Close
	d.admin = pg.Connect(o)
	l.closers = append(l.closers, func() { _ = d.admin.Close() })
	passwords := map[string]string{documentsRole: "n4ive" + rand.Text(), ownerRole: rand.Text(), readerRole: rand.Text()}
	for role, password := range passwords {
		if err := d.exec(ctx, fmt.Sprintf("create role %s login password '%s'", role, password)); err != nil {
			return err
		}
	}
	if err := d.make(ctx, policyName, ownerRole); err != nil {
		return err
	}
	if err := d.exec(ctx, "grant connect on database "+policyName+" to "+readerRole); err != nil {
		return err
	}
	d.documents = server.URL(documentsRole, passwords[documentsRole], "")
	d.owner = server.URL(ownerRole, passwords[ownerRole], policyName)
	d.reader = server.URL(readerRole, passwords[readerRole], policyName)
	l.postgres = d
	if err := l.applyPolicy(ctx, examplePolicy); err != nil {
		return err
	}
	if err := d.grant(ctx); err != nil {
		return err
	}
	l.say("postgres    %s (documents, policy)", server.Address())
	return nil
}

// make makes a database that only its owner, and whoever is told, may enter.
func (d *database) make(ctx context.Context, name, owner string) error {
	return errors.Join(
		d.exec(ctx, fmt.Sprintf("create database %s owner %s", name, owner)),
		d.exec(ctx, fmt.Sprintf("revoke all on database %s from public", name)),
	)
}

// grant lets the sidecars read the policy, and nothing else.
func (d *database) grant(ctx context.Context) error {
	o, err := pg.ParseURL(d.owner)
	if err != nil {
		return err
	}
	o.IdleCheckFrequency = -1
	owner := pg.Connect(o)
	defer func() { _ = owner.Close() }()
	_, err = owner.ExecContext(ctx, "grant usage on schema sidecar to "+readerRole+"; grant select on all tables in schema sidecar to "+readerRole)
	return err
}

func (d *database) exec(ctx context.Context, sql string) error {
	_, err := d.admin.ExecContext(ctx, sql)
	return err
}

// environment is what a program of the demo is told of the database: a document server
// of one of its own, a sidecar of the policy.
func (d *database) environment(ctx context.Context, name, program string) ([]string, error) {
	switch {
	case d == nil:
		return nil, nil
	case program != "docserver":
		return []string{"SIDECAR_DATABASE_URL=" + d.reader}, nil
	}
	return []string{"DATABASE_URL=" + d.of(name)}, d.make(ctx, databaseOf(name), documentsRole)
}

// of is the URL of a document server's database.
func (d *database) of(name string) string {
	if d == nil {
		return ""
	}
	return strings.Replace(d.documents, "/?", "/"+databaseOf(name)+"?", 1)
}

func databaseOf(name string) string { return strings.ReplaceAll(name, "-", "_") }

// ownerEnvironment is what whoever changes the policy is told.
func (d *database) ownerEnvironment() []string {
	if d == nil {
		return nil
	}
	return []string{"SIDECAR_DATABASE_URL=" + d.owner}
}
