// What OHIF starts with. Addresses without a host: the viewer talks to whoever served it, with the same cookie.

// A guest's root lies below their link, where their cookie goes.
const linkOf = query => {
  const link = query.get('link') || '';
  return /^[0-9a-f-]{36}$/.test(link) ? link : '';
};

// One patient's root when the address names the patient: two patients may hold studies of the same UID.
function rootOf(query) {
  if (linkOf(query)) return `/link/${linkOf(query)}/dicomweb`;
  const patient = query.get('patient') || '';
  return /^[A-Za-z0-9.-]{1,64}$/.test(patient) ? `/patients/${patient}/dicomweb` : '/dicomweb';
}

window.config = {
  name: 'lightbox',
  routerBasename: '/viewer',
  extensions: [],
  modes: [],
  customizationService: [{ 'ohif.tours': { $set: [] } }], // no guided tour over somebody's scan
  showStudyList: false,
  showErrorDetails: 'production',
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'configure', days: 90 },
  maxNumberOfWebWorkers: 3,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 10 },
  defaultDataSourceName: 'lightbox',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'lightbox',
      configuration: {
        friendlyName: 'Lightbox',
        name: 'lightbox',
        qidoRoot: '/dicomweb',
        wadoRoot: '/dicomweb',
        wadoUriRoot: '/dicomweb/wado',
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'thumbnail',
        thumbnailRequestStrategy: 'fetch',
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        singlepart: 'bulkdata,video',
        // By frames, as everything else: a whole instance is a download, which a share may leave out.
        loadMultiframeAsPart10: false,
        bulkDataURI: { enabled: true },
        onConfiguration(configuration, { query }) {
          const root = rootOf(query);
          return { ...configuration, qidoRoot: root, wadoRoot: root };
        },
      },
    },
  ],
  whiteLabeling: {
    createLogoComponentFn: React =>
      React.createElement('a', { href: '/', className: 'text-white text-lg px-2' }, 'Lightbox'),
  },
  // The session rides along as a cookie; when it has ended, so has the viewer.
  httpErrorHandler(error) {
    const link = linkOf(new URLSearchParams(window.location.search));
    if (link && (error.status === 401 || error.status === 403)) {
      window.location.assign(`/link/${link}`);
    } else if (error.status === 401) {
      const here = window.location.pathname + window.location.search;
      window.location.assign(`/sign-in?next=${encodeURIComponent(here)}`);
    }
  },
};
