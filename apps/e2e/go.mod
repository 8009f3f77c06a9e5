module github.com/popvote/popvote/apps/e2e

go 1.26.0

require github.com/popvote/popvote/libs v0.0.0

require (
	github.com/go-jose/go-jose/v4 v4.1.4 // indirect
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/nyaruka/phonenumbers v1.8.1 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/popvote/popvote/libs => ../../libs
