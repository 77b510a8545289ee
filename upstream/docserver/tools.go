package docserver

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Arguments of the tools. The schemas are open: members beyond these are ignored.
type (
	createArgs struct {
		Content   string `json:"content"`
		CreatedBy string `json:"created_by"`
	}
	idArgs struct {
		ID int64 `json:"id"`
	}
	updateArgs struct {
		ID      int64  `json:"id"`
		Content string `json:"content"`
	}
	renderArgs struct {
		ID     int64  `json:"id"`
		Format string `json:"format"`
	}
	importArgs struct {
		URL       string `json:"url"`
		CreatedBy string `json:"created_by"`
	}
)

// Properties that several schemas share.
const (
	idProperty        = `"id": {"type": "integer", "description": "ID of the document."}`
	contentProperty   = `"content": {"type": "string", "description": "Text of the document."}`
	createdByProperty = `"created_by": {"type": "string", "description": "Name of the author."}`
	formatProperty    = `"format": {"type": "string", "description": "What to count: words, lines or chars."}`
	urlProperty       = `"url": {"type": "string", "format": "uri", "description": "Where to fetch the text."}`
)

func openSchema(properties, required string) json.RawMessage {
	return json.RawMessage(`{"type": "object", "properties": {` + properties +
		`}, "required": [` + required + `], "additionalProperties": true}`)
}

func (s *Server) addTools() {
	addTool(s.mcp, &mcp.Tool{
		Name:        "create_document",
		Description: "Stores a new document.",
		InputSchema: openSchema(contentProperty+","+createdByProperty, `"content", "created_by"`),
		Annotations: writes(false),
	}, s.create)
	addTool(s.mcp, &mcp.Tool{
		Name:        "read_document",
		Description: "Returns a document.",
		InputSchema: openSchema(idProperty, `"id"`),
		Annotations: readsOnly(),
	}, s.read)
	addTool(s.mcp, &mcp.Tool{
		Name:        "update_document",
		Description: "Replaces the text of a document.",
		InputSchema: openSchema(idProperty+","+contentProperty, `"id", "content"`),
		Annotations: writes(false),
	}, s.update)
	addTool(s.mcp, &mcp.Tool{
		Name:        "delete_document",
		Description: "Deletes a document for good.",
		InputSchema: openSchema(idProperty, `"id"`),
		Annotations: writes(true),
	}, s.delete)
	addTool(s.mcp, &mcp.Tool{
		Name:        "render_document",
		Description: "Counts the words, lines or chars of a document.",
		InputSchema: openSchema(idProperty+","+formatProperty, `"id", "format"`),
		Annotations: readsOnly(),
	}, s.render)
	addTool(s.mcp, &mcp.Tool{
		Name:        "import_url",
		Description: "Fetches a URL and stores what it returns as a new document.",
		InputSchema: openSchema(urlProperty+","+createdByProperty, `"url", "created_by"`),
		Annotations: writes(false),
	}, s.importURL)
}

func readsOnly() *mcp.ToolAnnotations {
	return &mcp.ToolAnnotations{ReadOnlyHint: true, DestructiveHint: new(bool)}
}

// writes sets destructiveHint also when it is false: the default for a tool that
// writes is true.
func writes(destructive bool) *mcp.ToolAnnotations {
	return &mcp.ToolAnnotations{DestructiveHint: &destructive}
}

// addTool registers a tool whose result is a list of text blocks: a header line,
// and behind it the text where the tool has one. There is no typed output, which
// would add structuredContent.
func addTool[In any](server *mcp.Server, t *mcp.Tool, run func(context.Context, In) ([]string, error)) {
	mcp.AddTool(server, t, func(ctx context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		texts, err := run(ctx, in)
		if err != nil {
			// INTENDED HOLE: the caller reads every error word for word, with data
			// source names, addresses and the output of failed commands (CWE-209).
			return nil, nil, err
		}
		res := &mcp.CallToolResult{}
		for _, text := range texts {
			res.Content = append(res.Content, &mcp.TextContent{Text: text})
		}
		return res, nil, nil
	})
}

func (s *Server) create(ctx context.Context, in createArgs) ([]string, error) {
	// INTENDED HOLE: the author is whoever the caller claims to be.
	id, err := s.store.Create(ctx, in.Content, in.CreatedBy)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("created document id=%d (created_by %s)", id, in.CreatedBy)}, nil
}

func (s *Server) read(ctx context.Context, in idArgs) ([]string, error) {
	d, err := s.store.Read(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	header := fmt.Sprintf("read document id=%d (created_by %s)", d.ID, d.CreatedBy)
	// INTENDED HOLE: the text goes to the model as it is, with the secrets and
	// the instructions that somebody may have written into it.
	return []string{header, d.Content}, nil
}

func (s *Server) update(ctx context.Context, in updateArgs) ([]string, error) {
	rows, err := s.store.Update(ctx, in.ID, in.Content)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("updated %d row(s) for document id=%d", rows, in.ID)}, nil
}

func (s *Server) delete(ctx context.Context, in idArgs) ([]string, error) {
	// INTENDED HOLE: gone at the first call; nobody is asked to confirm.
	rows, err := s.store.Delete(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("deleted %d row(s) for document id=%d", rows, in.ID)}, nil
}

func (s *Server) render(ctx context.Context, in renderArgs) ([]string, error) {
	d, err := s.store.Read(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out, err := s.count(ctx, in.Format, d.Content)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("rendered document id=%d (%s): %s", d.ID, in.Format, out)}, nil
}

func (s *Server) importURL(ctx context.Context, in importArgs) ([]string, error) {
	text, err := fetch(ctx, s.fetcher, in.URL)
	if err != nil {
		return nil, err
	}
	// INTENDED HOLE: as in create, the author is whoever the caller claims to be.
	id, err := s.store.Create(ctx, text, in.CreatedBy)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("imported %s as document id=%d", in.URL, id)}, nil
}
