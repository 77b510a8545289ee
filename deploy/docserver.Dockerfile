# The naive document server of the demo. It is vulnerable on purpose: it belongs on a
# network that only the sidecar can reach.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/docserver ./upstream

# It runs wc.
FROM debian:bookworm-slim
COPY --from=build /out/docserver /docserver
USER 65534:65534
EXPOSE 9001
ENTRYPOINT ["/docserver"]
