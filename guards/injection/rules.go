package injection

// classes are sets of words that phrases name with @. Words are folded: lower
// case, without accents and apostrophes.
var classes = map[string]string{
	// What leads into a command.
	"lead": "and then now please must also just immediately simply first kindly instead finally therefore so do bitte und",

	"ignore": "ignore ignoring disregard forget neglect " +
		"ignoriere ignorieren vergiss vergesse vergessen missachte abweichend " +
		"ignora ignorez ignorer oublie oubliez olvida olvide olvidar dimentica esqueca zaboravi",
	"override": "override bypass overrule circumvent discard dismiss overwrite erase delete drop",
	"previous": "previous prior above preceding earlier former past foregoing before existing original initial " +
		"vorherigen vorangegangenen bisherigen obigen alle " +
		"anteriores anterior previas todas todos precedentes precedente precedenti tutte toutes sve",
	"your": "your my our the these those this that such other system developer his",
	// What a model has been told to do.
	"orders": "instructions instruction prompt prompts directives directive orders commands rules rule guidelines " +
		"programming guardrails safeguards restrictions " +
		"anweisungen instrucciones istruzioni instrucoes",
	// The same and whatever else a model has been given.
	"instructions": "instructions instruction prompt prompts directives directive orders commands command rules rule guidelines " +
		"programming training guardrails safeguards restrictions constraints policies policy directions guidance " +
		"assignments tasks context conversation messages text input inputs data content information " +
		"anweisungen anweisung instruktionen auftrage informationen befehle aufgaben regeln " +
		"instrucciones ordenes consignes istruzioni instrucoes ordens instrukcije",
	"everything": "everything anything whatever alles todo tout tutto tudo",
	"told":       "told said learned learnt wrote given taught instructed read",
	"secret": "password passwords passwort passphrase credentials credential secret secrets apikey apikeys key keys token tokens " +
		"ssh env environment cookies cookie conversation history prompt database private personal confidential sensitive",
	"show": "reveal show print repeat output display tell give write recite share leak summarize summarise translate spell " +
		"expose disclose provide return list dump copy paste quote say",
}

// phrases is the table of phrase families. A field is a set of words, separated
// by |; @name stands for a class; ~n allows up to n arbitrary words before the
// next field; ^ asks that the phrase starts like a command, at the beginning of
// a clause or behind a word of @lead. A phrase never crosses a full stop.
var phrases = []struct {
	rule rule
	text string
}{
	{ignorePrevious, "@ignore ~3 @previous ~3 @instructions"},
	{ignorePrevious, "@ignore ~2 all|any|every|old ~3 @orders"},
	{ignorePrevious, "@ignore ~2 @instructions ~2 previous|prior|above|before|earlier|anteriores|precedentes|precedenti|given"},
	{ignorePrevious, "@ignore @your ~1 @orders"},
	{ignorePrevious, "@ignore ~1 @everything ~3 above|before|beforehand|prior|previously|earlier|told|said|learned|instructed|davor|gesagte|antes|discussed"},
	{ignorePrevious, "@ignore ~1 the|all|everything|any above|foregoing"},
	{ignorePrevious, "@ignore all|everything ~2 before|previously|told|said"},
	{ignorePrevious, "@ignore what|whatever ~4 @told"},
	{ignorePrevious, "@override ~2 previous|prior|above|preceding|earlier|existing|original|initial|system|your ~2 @orders"},
	{ignorePrevious, "not|never|dont|stop follow|obey|following|obeying|listen ~2 previous|prior|above|preceding|earlier|original|initial|system|your ~2 @orders"},
	{ignorePrevious, "new|neue instruction|instructions|anweisungen|orders follow|follows|folgen"},
	{ignorePrevious, "folgen neue anweisungen"},
	{ignorePrevious, "^change|replace|update ~1 your instructions|programming|guidelines|rules"},
	{ignorePrevious, "^abandon ~1 all ~1 your thoughts|instructions|rules|programming"},
	{ignorePrevious, "^override|bypass|disable|turn ~1 all|any|your|the|off ~1 safety|security|content|ethical|moral ~1 filters|filter|protocols|guidelines|restrictions|rules|policies|policy|measures|checks"},

	{roleOverride, "you are|re now a|an|the|my|known|called|named|acting|playing|going|dan|root|admin|unrestricted|free|operating|entering"},
	{roleOverride, "youre now a|an|the|my|known|called|named|acting|playing|going|dan"},
	{roleOverride, "now you are|re a|an|the|my|called|named"},
	{roleOverride, "you are no longer"},
	{roleOverride, "from now|here|this on|forward|onward|moment|point ~3 you|your|act|respond|answer|behave|speak"},
	{roleOverride, "from this point|moment on|onward|forward|onwards ~3 you|your|act|respond|answer"},
	{roleOverride, "^act as|like a|an|if|my|though|the"},
	{roleOverride, "want|need you to act|behave|pretend|roleplay"},
	{roleOverride, "going to act|pretend|roleplay|immerse|play ~1 as|the|a|yourself|to"},
	{roleOverride, "you will|must|shall|should now ~1 act|behave|respond|speak|play|roleplay as|the|like"},
	{roleOverride, "you will|must|shall act|behave|roleplay|speak ~2 as a|an|the|my"},
	{roleOverride, "nun|jetzt|ab bist du"},
	{roleOverride, "stell dir vor du bist"},
	{roleOverride, "du|sie als ~4 fungierst|fungieren"},
	{roleOverride, "not|never|without|longer ~1 bound|restricted|limited|constrained by ~4 restrictions|rules|guidelines|policies|laws|limitations|settings|ethics|openai|ai"},
	{roleOverride, "^pretend ~2 to|that|you|youre|as ~1 be|are|you|were|a|an|have"},
	{roleOverride, "^roleplay|roleplaying as|with"},
	{roleOverride, "^role play|playing as"},
	{roleOverride, "you ~3 play|playing|assume|take|adopt|portray ~1 the|a ~1 role|part|persona|character of|as|named|called"},
	{roleOverride, "developer|dan|god|jailbreak|admin|unrestricted|sudo|evil|chaos mode|modus enabled|activated|on|output|enable|activate|unlocked|response|outputs"},
	{roleOverride, "enter|entering|enable|activate|enabling|activating|into|in ~2 developer|dan|god|jailbreak|unrestricted|unfiltered|evil mode"},
	{roleOverride, "do anything now"},
	{roleOverride, "stay|remain|staying ~1 in character"},
	{roleOverride, "unfiltered|uncensored|amoral|unethical|unrestricted ~3 ai|chatbot|bot|assistant|responses|response|answers|persona|model|character"},
	{roleOverride, "ai|chatbot|bot|assistant|model|persona|character ~6 no|without|any ~2 restrictions|limitations|filters|ethics|morals|censorship|guidelines"},
	{roleOverride, "immerse yourself into|in ~2 role"},
	{roleOverride, "broken|break|breaks free ~2 of|from ~3 confines|rules|restrictions|chains|guidelines|norms|limitations|limits"},
	{roleOverride, "does|do|doesnt|dont|never|not ~2 follow|obey|abide|adhere ~3 openai|content|ethical|moral|any ~2 policy|policies|rules|guidelines|morals|laws|guideline"},

	{exfiltration, "^send|email|mail|post|forward|upload|transmit|leak|exfiltrate|submit|deliver|dispatch|copy|share|text|bcc ~4 @secret ~12 to ~4 @|://"},
	{exfiltration, "^send|email|mail|post|forward|upload|transmit|exfiltrate|leak|bcc ~2 it|them|this|that|everything|all|these ~4 to ~4 @|://"},
	{exfiltration, "^reveal|disclose|exfiltrate|divulge|steal ~3 @secret"},
	{exfiltration, "^give|tell|show|print|output|display|list|return|share|send ~2 me|us|out ~3 your|the|all|every|any ~3 password|passwords|credentials|secrets|apikey|apikeys"},
	{exfiltration, "include|append|attach|embed|encode|pass|put ~4 @secret ~6 url|link|image|query|parameter|markdown|sidenote"},
	{exfiltration, "read|cat|open|fetch|access|load ~4 ssh|id|mcp|env|aws|netrc|passwd|shadow ~6 send|pass|include|upload|post|forward|content|contents as|it|them|to|the"},

	{promptProbe, "@show ~4 system|initial|original|hidden|secret|starting|internal|pre|first|prompt|above ~1 prompt|prompts|instructions|instruction|preprompt|text|texts"},
	{promptProbe, "@show ~2 system|initial|hidden message|messages"},
	{promptProbe, "@show ~2 your ~2 prompt|prompts|instructions|instruction|preprompt|programming|directives"},
	{promptProbe, "what ~1 is|are|was|were ~1 your|the ~1 system|initial|original|first|starting|hidden|previous prompt|instructions|instruction|message|prompts"},
	{promptProbe, "what|which ~1 are|were|was|is your instructions|directives|instruction|prompt"},
	{promptProbe, "@show ~1 everything|all|words|text|sentence|paragraph ~2 above|preceding"},
	{promptProbe, "beginning|start|first ~2 of ~2 your|this|the prompt|conversation ~2 verbatim|word"},
	{promptProbe, "^show|print|output|repeat|reveal|display ~1 previous|above|your|initial|original instructions|instruction"},
	{promptProbe, "what ~1 was|is|were ~1 written|said|stated|above ~2 beginning|start|above ~3 prompt|conversation"},
	{promptProbe, "show|print|output|repeat all ~1 your prompt|prompts"},

	{toolHijack, "^do not ~1 tell|inform|mention|notify|alert|reveal|disclose ~4 user|users|human|anyone"},
	{toolHijack, "^dont|never ~1 tell|inform|mention|notify|alert|reveal|disclose ~4 user|users|human|anyone"},
	{toolHijack, "must|should|shall not|never ~1 tell|inform|mention|notify|alert ~3 user|human"},
	{toolHijack, "without telling|informing|notifying|alerting|mentioning ~4 user|users|human|anyone"},
	{toolHijack, "^hide|conceal|keep ~3 from the|your user|human"},
	{toolHijack, "before ~1 using|calling|invoking|executing|running ~1 any|this|other|the ~2 tool|tools"},
	{toolHijack, "^you must|should|have ~2 first|always|immediately ~2 call|invoke|run|execute|use ~3 tool|function"},
	{toolHijack, "must|should|strictly|always adhere|follow|obey ~2 to|the following instruction|instructions"},
	{toolHijack, "instead of|calling|using ~1 using|calling|the ~3 tool ~3 call|use|invoke"},

	{fakeSystem, "^system|admin|administrator override"},

	{hiddenText, "ai|assistant|assistants|llm|llms|agent|agents|model|models|chatbot ~3 must|should|please|always|never|ignore|execute|run|include|send|read|call|say"},
	{hiddenText, "important|attention|note|instruction|instructions ~2 system|ai|assistant|assistants|llm|llms|agent|agents"},
	{hiddenText, "^execute|run|send|call|delete|transfer|forward|fetch ~8 @|://"},
}
