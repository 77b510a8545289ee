# The sidecar: one static program and nothing else, as a user without rights.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/mcp-sidecar ./proxy
RUN mkdir /out/state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/mcp-sidecar /mcp-sidecar
COPY --from=build --chown=65532:65532 /out/state /var/lib/mcp-sidecar
USER 65532:65532
ENV SIDECAR_CONFIG=/etc/mcp-sidecar/sidecar.yaml
EXPOSE 8811
HEALTHCHECK CMD ["/mcp-sidecar", "healthcheck"]
ENTRYPOINT ["/mcp-sidecar"]
CMD ["serve"]
